"""Lightning data modules of the task: the paper's images, two stand-ins, and images of one's own.

A training batch is (noisy, truth), a batch of an evaluation (set, noisy, truth) with the name of its set; images are
float32 of shape (batch, 1, height, width), truth on [0, 1], noise neither clipped nor rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tasks.denoising.sources import ImageSet, embedded, flying_chairs, folder_images, train400_images
from tasks.engine import console
from tasks.engine.batches import EpochBatches, NumberedBatches, fixed_noise, mix_seed

EvaluationBatch = tuple[str, Tensor, Tensor]
MAIN = "test"  # the set whose scores are the table's


@dataclass
class Images:
    """What a source of images gives: training images of one size, test sets by name (MAIN first), files left out."""

    train: ImageSet
    tests: dict[str, ImageSet]
    problems: list[Exception] = field(default_factory=list)


class DenoisingData(L.LightningDataModule):
    """What all sources share: counts, hold-out, noise and batches.

    Args:
        sigma: standard deviation of the noise in grey levels of 255, above 0.
        crop: side of the training images in pixels, cut from the centre unless a source says otherwise.
        batch_size: training images a batch; `eval_batch_size` in evaluation, of images of one size.
        seed: of the hold-out split, the batch order and the training noise; the noise of a test image depends on the
            image's name alone.
        holdout: part of the training images kept for validation. 0: the paper's protocol, in which the *test* images
            are the validation set. Above 0: the honest protocol.
        n_train, n_test: images the protocol needs; the first so many are taken.
        strict: whether too few images are refused, or said and made do with.
        robustness: further noise levels the main test set is tested at.

    Raises:
        ValueError: a value out of its range; naming the key.
    """

    label: str
    stand_in: bool

    def __init__(
        self,
        sigma: float,
        batch_size: int,
        crop: int = 180,
        seed: int = 0,
        holdout: float = 0.0,
        n_train: int = 400,
        n_test: int = 100,
        strict: bool = True,
        eval_batch_size: int = 10,
        robustness: Sequence[float] = (),
    ) -> None:
        super().__init__()
        for name, level in [("sigma", sigma), *(("robustness", level) for level in robustness)]:
            if not level > 0:
                raise ValueError(
                    f"data.{name} must be above 0 (in grey levels of 255; the thesis has 15, 20, 25), got {level}"
                )
        if not 0 <= holdout < 1:
            raise ValueError(f"data.holdout must be in [0, 1), got {holdout}: 0 (paper) or for instance 0.1 (honest)")
        self.crop = crop
        for name, count in {"crop": crop, "n_train": n_train, "n_test": n_test, "batch_size": batch_size}.items():
            if count < 1:
                raise ValueError(f"data.{name} must be at least 1, got {count}")
        self.sigma, self.seed, self.holdout, self.strict = sigma, seed, holdout, strict
        self.n_train, self.n_test = n_train, n_test
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.robustness = tuple(robustness)
        self.train: Tensor | None = None
        self.tests: dict[str, ImageSet] = {}

    def load(self) -> Images:
        """Read the images."""
        raise NotImplementedError  # pragma: no cover - every source defines it

    def setup(self, stage: str | None = None) -> None:
        """Load, count and split once; every stage has all sets."""
        if self.train is not None:
            return
        images = self.load()
        images.train = self._first(images.train, self.n_train, "training", images.problems)
        images.tests[MAIN] = self._first(images.tests[MAIN], self.n_test, "test", images.problems)
        if images.problems:
            listed = "\n  ".join(str(problem) for problem in images.problems)
            console.warn(f"{len(images.problems)} images were left out:\n  {listed}")
        held = round(self.holdout * len(images.train))
        if self.holdout and not 0 < held < len(images.train):
            raise ValueError(f"data.holdout={self.holdout} leaves none on one side of {len(images.train)} images")
        order = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(mix_seed(self.seed, 1)))
        kept = [images.train[i] for i in sorted(order[held:].tolist())]
        self.tests = images.tests
        self.val = [images.train[i] for i in sorted(order[:held].tolist())] if held else images.tests[MAIN]
        self.train = torch.stack([image for _, image in kept])

    def _first(self, images: ImageSet, wanted: int, which: str, problems: list[Exception]) -> ImageSet:
        if len(images) < wanted:
            text = f"{self.label}: {len(images)} usable {which} images, the protocol needs {wanted}"
            listed = "".join(f"\n  {problem}" for problem in problems)
            if self.strict or not images:
                raise ValueError(f"{text}{listed}\nFix: complete the data, or set data.n_train and data.n_test.")
            console.warn(f"{text}: going on with these")
        return images[:wanted]

    def train_dataloader(self) -> DataLoader:
        assert self.train is not None, "setup() first"
        data = FreshNoise(self.train, self.sigma / 255, self.seed)
        order = EpochBatches(len(self.train), self.batch_size, self.seed)
        return DataLoader(data, sampler=NumberedBatches(order), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return self._loader([("val", self.val, self.sigma)])

    def test_dataloader(self) -> DataLoader:
        sets = [(name, images, self.sigma) for name, images in self.tests.items()]
        sets += [(f"{MAIN}@{level:g}", self.tests[MAIN], level) for level in self.robustness]
        return self._loader(sets)

    def _loader(self, sets: list[tuple[str, ImageSet, float]]) -> DataLoader:
        data = [batch for name, images, sigma in sets for batch in self._batches(name, images, sigma / 255)]
        return DataLoader(data, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    def _batches(self, name: str, images: ImageSet, sigma: float) -> Iterator[EvaluationBatch]:
        """Consecutive images of one size, at most `eval_batch_size` together."""
        group: ImageSet = []
        for entry in [*images, None]:
            if group and (entry is None or len(group) == self.eval_batch_size or entry[1].shape != group[0][1].shape):
                truth = torch.stack([image for _, image in group])
                noise = torch.stack([fixed_noise(key, tuple(image.shape)) for key, image in group])
                yield name, truth + sigma * noise, truth
                group = []
            if entry is not None:
                group.append(entry)


class FlyingChairsData(DenoisingData):
    """The paper's images: the first frames of FlyingChairs' first pairs, gray, cropped around the centre."""

    label, stand_in = "flyingchairs", False

    def load(self) -> Images:
        images, problems = flying_chairs(self.n_train + self.n_test, self.crop)
        return Images(images[: self.n_train], {MAIN: images[self.n_train :]}, list(problems))


class Train400Data(DenoisingData):
    """400 crops of BSDS500 as training images; test sets of full size (the first is the table's), real stand-ins."""

    stand_in = True

    def __init__(self, test_sets: Sequence[str] = ("bsd68", "set12"), **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        if not test_sets:
            raise ValueError("data.test_sets must name at least one set: bsd68, set12 or bsdsval100")
        self.test_sets = tuple(test_sets)
        self.label = f"train400, test on {test_sets[0]}"

    def load(self) -> Images:
        train, tests, problems = train400_images(self.test_sets, self.crop)
        return Images(train, {MAIN if i == 0 else name: tests[name] for i, name in enumerate(tests)}, list(problems))


class EmbeddedData(DenoisingData):
    """Crops of photographs that scikit-image ships, halved in size; none gives both training and test crops."""

    label, stand_in = "embedded photographs", True

    def load(self) -> Images:
        train, test = embedded(self.n_train, self.n_test, self.crop)
        return Images(train, {MAIN: test})


class FolderData(DenoisingData):
    """Images of one's own: every readable image of two folders, training images cropped to one size."""

    stand_in = True

    def __init__(self, train_folder: str, test_folder: str, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.folders = Path(train_folder).expanduser(), Path(test_folder).expanduser()
        self.label = f"folder {self.folders[0].name}, test on {self.folders[1].name}"

    def load(self) -> Images:
        train, problems = folder_images(self.folders[0], self.crop)
        test, more = folder_images(self.folders[1], None)
        return Images(train, {MAIN: test}, [*problems, *more])


class FreshNoise(Dataset[tuple[Tensor, Tensor]]):
    """Training batches, indexed by (epoch, batch number, image indices): the noise depends on seed, epoch and batch."""

    def __init__(self, images: Tensor, sigma: float, seed: int) -> None:
        self.images, self.sigma, self.seed = images, sigma, seed

    def __getitem__(self, index: tuple[int, int, Tensor]) -> tuple[Tensor, Tensor]:
        epoch, batch, chosen = index
        truth = self.images[chosen]
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, batch))
        return truth + self.sigma * torch.randn(truth.shape, generator=generator), truth
