"""Lightning data modules of the task: images, kernels and noise, put together to restoration problems.

A training batch is (problem, truth), a batch of an evaluation (set, problem, truth) with the name of its set; truth is
float32 of shape (batch, 1, height, width) on [0, 1], observations are neither clipped nor rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tasks.engine.batches import EpochAndBatch, fixed_noise, mix_seed
from tasks.engine.data import locate
from tasks.restoration.batches import FreshProblems
from tasks.restoration.kernels import bicubic, camera_shake, identity, levin_kernels, read_kernels
from tasks.restoration.operators import Problem, degrade
from tasks.restoration.sources import ImageSet, benchmark, embedded, train400

EvaluationBatch = tuple[str, Problem, Tensor]
MAIN = "test"  # the set whose scores are the table's
SCALE = 4  # of the super-resolution
PROBLEMS = ("deblur", "denoise", "sr4")
TEST_SEED = 1_000_000  # of the generated test kernels: no training kernel has it


@dataclass(frozen=True)
class Case:
    """An image to be degraded for evaluation, with its kernel; the noise is drawn from the name."""

    name: str
    truth: Tensor
    kernel: Tensor


class RestorationData(L.LightningDataModule):
    """What all sources share: the problem's kind, kernels, hold-out, noise and batches.

    Args:
        problem: deblur (a camera-shake kernel an image), denoise, or sr4 (bicubic reduction by 4).
        sigma: standard deviation of the noise in grey levels of 255, at least 0.
        crop: side of the training images in pixels, a multiple of 4.
        kernels: file of blur kernels (`kernels.read_kernels`) for the test images, in turn, instead of the source's
            (deblur only).
        kernel_size: side of generated kernels in pixels, odd, at most crop.
        n_kernels: generated kernels to train with; those of validation and test are others.
        n_train, n_test: images; the first so many are taken.
        holdout: part of the training images kept for validation, in (0, 1).
        batch_size, epoch_batches: images a training batch, and batches an epoch.
        eval_batch_size: images of one size a batch of evaluation; changes no result.
        seed: of the hold-out split, batches and training noise; test noise depends on the image's name alone.

    Raises:
        ValueError: a value out of its range; naming the key.
    """

    label: str
    stand_in = True  # the poster's Levin protocol (noise, boundary) is not stated: compared by claim only

    def __init__(
        self,
        problem: str,
        sigma: float,
        crop: int,
        kernel_size: int,
        n_kernels: int = 64,
        n_train: int = 400,
        n_test: int = 100,
        holdout: float = 0.1,
        batch_size: int = 8,
        epoch_batches: int = 40,
        eval_batch_size: int = 8,
        seed: int = 0,
        kernels: str | None = None,
    ) -> None:
        super().__init__()
        if problem not in PROBLEMS:
            raise ValueError(f"data.problem must be one of {', '.join(PROBLEMS)}, got {problem!r}")
        if not sigma >= 0:
            raise ValueError(f"data.sigma must be at least 0 (in grey levels of 255), got {sigma}")
        if not 0 < holdout < 1:
            raise ValueError(f"data.holdout must lie between 0 and 1, for instance 0.1, got {holdout}")
        if crop < SCALE or crop % SCALE:
            raise ValueError(f"data.crop must be a multiple of {SCALE}, got {crop}")
        if kernel_size < 3 or kernel_size % 2 == 0 or kernel_size > crop:
            raise ValueError(
                f"data.kernel_size must be odd, at least 3 and at most data.crop={crop}, got {kernel_size}"
            )
        counts = {"n_kernels": n_kernels, "n_train": n_train, "n_test": n_test, "batch_size": batch_size}
        for name, count in (counts | {"epoch_batches": epoch_batches}).items():
            if count < 1:
                raise ValueError(f"data.{name} must be at least 1, got {count}")
        self.problem, self.sigma, self.crop, self.kernel_size = problem, sigma, crop, kernel_size
        self.n_kernels, self.n_train, self.n_test, self.holdout = n_kernels, n_train, n_test, holdout
        self.batch_size, self.epoch_batches, self.eval_batch_size = batch_size, epoch_batches, eval_batch_size
        self.seed = seed
        if kernels is not None and problem != "deblur":
            raise ValueError(f"data.kernels is for data.problem=deblur, got data.problem={problem}")
        self.kernels = kernels
        self.blurred = "generated kernels" if kernels is None else f"kernels of {Path(kernels).name}"
        self.factor = SCALE if problem == "sr4" else 1
        self.train: Tensor | None = None
        self.val: list[Case] = []
        self.tests: dict[str, list[Case]] = {}

    def load(self) -> tuple[ImageSet, dict[str, list[Case]]]:
        """Training images of one size, and the test sets by name (MAIN first)."""
        raise NotImplementedError  # pragma: no cover - every source defines it

    def kernel(self, seed: int) -> Tensor:
        """The problem's kernel; generated ones differ by seed."""
        if self.problem == "sr4":
            return bicubic(SCALE)
        return identity() if self.problem == "denoise" else camera_shake(seed, self.kernel_size)

    def cases(self, images: ImageSet, first_seed: int = TEST_SEED) -> list[Case]:
        """Every image with a kernel of its own, cut to a multiple of the reduction."""
        return [
            Case(name, _multiple(image, self.factor), self.kernel(first_seed + i))
            for i, (name, image) in enumerate(images)
        ]

    def setup(self, stage: str | None = None) -> None:
        """Load and split once; every stage has all sets."""
        if self.train is not None:
            return
        images, self.tests = self.load()
        if self.kernels is not None:
            own = read_kernels(Path(self.kernels).expanduser())
            self.tests = {name: self._blurred(cases, own) for name, cases in self.tests.items()}
        held = round(self.holdout * len(images))
        if not 0 < held < len(images):
            raise ValueError(f"data.holdout={self.holdout} leaves none on one side of {len(images)} images")
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(mix_seed(self.seed, 1)))
        self.val = self.cases([images[i] for i in sorted(order[:held].tolist())], TEST_SEED + 10_000)
        self.train = torch.stack([images[i][1] for i in sorted(order[held:].tolist())])

    def _blurred(self, cases: list[Case], kernels: list[Tensor]) -> list[Case]:
        """The cases with these kernels in turn. Raises ValueError if one is larger than its image."""
        found = [replace(case, kernel=kernels[i % len(kernels)]) for i, case in enumerate(cases)]
        for case in found:
            (k, l), (height, width) = case.kernel.shape, case.truth.shape[-2:]
            if k > height or l > width:
                raise ValueError(
                    f"data.kernels={self.kernels} has a kernel of {k} x {l} pixels, larger than {case.name} with "
                    f"{height} x {width}: crop the kernel, or choose larger images (data.test_crop)"
                )
        return found

    def train_dataloader(self) -> DataLoader:
        assert self.train is not None, "setup() first"
        kernels = [self.kernel(i) for i in range(self.n_kernels if self.problem == "deblur" else 1)]
        data = FreshProblems(self.train, kernels, self.sigma / 255, self.factor, self.batch_size, self.seed)
        return DataLoader(data, sampler=EpochAndBatch(self.epoch_batches), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return self._loader({"val": self.val})

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.tests)

    def _loader(self, sets: dict[str, list[Case]]) -> DataLoader:
        data = [batch for name, cases in sets.items() for batch in self._batches(name, cases)]
        return DataLoader(data, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    def _batches(self, name: str, cases: list[Case]) -> Iterator[EvaluationBatch]:
        """Consecutive images of one size, at most `eval_batch_size` together."""
        group: list[Case] = []
        for case in [*cases, None]:
            full = len(group) == self.eval_batch_size
            if group and (case is None or full or case.truth.shape != group[0].truth.shape):
                truth = torch.stack([member.truth for member in group])
                small = (1, truth.shape[-2] // self.factor, truth.shape[-1] // self.factor)
                noise = torch.stack([fixed_noise(member.name, small) for member in group]) * self.sigma / 255
                yield name, degrade(truth, [member.kernel for member in group], noise, self.factor), truth
                group = []
            if case is not None:
                group.append(case)


class EmbeddedData(RestorationData):
    """Crops of photographs that scikit-image ships, halved in size; none gives both training and test crops.

    Args:
        test_crop: side of the test images in pixels.
    """

    def __init__(self, test_crop: int, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.test_crop = test_crop
        self.label = f"embedded photographs, {self.blurred}"

    def load(self) -> tuple[ImageSet, dict[str, list[Case]]]:
        if self.kernel_size > self.test_crop:
            raise ValueError(f"data.kernel_size={self.kernel_size} is larger than data.test_crop={self.test_crop}")
        train, test = embedded(self.n_train, self.n_test, self.crop, self.test_crop)
        return train, {MAIN: self.cases(test)}


class Train400Data(RestorationData):
    """400 crops of BSDS500 to train with; Set12 and BSD68 blurred with Levin's eight kernels (deblur) to test.

    Args:
        test_sets: set12 and bsd68, the first is the table's.
        kernels_per_image: how many of Levin's kernels blur each image, the i-th image's first is kernel i mod 8.
    """

    def __init__(
        self, test_sets: Sequence[str] = ("set12", "bsd68"), kernels_per_image: int = 8, **options: object
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        unknown = sorted(set(test_sets) - {"set12", "bsd68"})
        if unknown or not test_sets:
            raise ValueError(f"data.test_sets must name set12, bsd68 or both, got {list(test_sets)}")
        if not 1 <= kernels_per_image <= 8:
            raise ValueError(f"data.kernels_per_image must lie in 1..8, got {kernels_per_image}")
        self.test_sets, self.kernels_per_image = tuple(test_sets), kernels_per_image
        blurred = "Levin's kernels" if self.kernels is None else self.blurred
        self.label = f"train400, test on {test_sets[0]}" + (f", {blurred}" if self.problem == "deblur" else "")

    def load(self) -> tuple[ImageSet, dict[str, list[Case]]]:
        tests = {name: self._first(benchmark(name)) for name in self.test_sets}
        return train400()[: self.n_train], {MAIN if i == 0 else name: tests[name] for i, name in enumerate(tests)}

    def _first(self, images: ImageSet) -> list[Case]:
        images = images[: self.n_test]
        if self.problem != "deblur":
            return self.cases(images)
        kernels = levin_kernels(locate("restoration/levin/Levin09.mat"))
        return [
            Case(f"{name} kernel {(i + j) % 8 + 1}", image, kernels[(i + j) % 8])
            for i, (name, image) in enumerate(images)
            for j in range(self.kernels_per_image)
        ]


def _multiple(image: Tensor, factor: int) -> Tensor:
    height, width = image.shape[-2] // factor * factor, image.shape[-1] // factor * factor
    return image[..., :height, :width]
