"""Lightning data modules of the task: CelebA, 9,000 of its images at half scale, and generated faces.

Batches are uint8 images of shape (batch, 3, size, size); `as_float` takes them to [−1, 1], on whatever device they are.
All images are one array (memory-mapped where they come from files), so that a batch is one gather.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tasks.engine.batches import EpochBatches, NumberedBatches, mix_seed
from tasks.engine.store import ROOT
from tasks.vae import celeba
from tasks.vae.cache import Pixels, cached
from tasks.vae.faces import faces

REFERENCE_SEED = 0  # of the real images that distances are measured to: the same for every row and seed


def as_float(images: Tensor) -> Tensor:
    """uint8 images as float32 on [−1, 1], the range of the decoder's tanh."""
    return images.float() / 127.5 - 1


def as_bytes(images: Tensor) -> Tensor:
    """Images on [−1, 1] as an 8-bit file keeps them: rounded to 256 levels."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte()  # bfloat16 has no 256 levels


class ImageData(L.LightningDataModule):
    """What all sources share: batches, and the real images that distances are measured to.

    Args:
        size: side of the images in pixels.
        batch_size: training images a batch; a last, smaller batch is left out. `eval_batch_size` in evaluation.
        seed: of the batch order and the flips.
        flip: whether training images are mirrored at random.
        n_eval: real images that distances are measured to, drawn at random from all images (thesis: 10,000), and
            generated ones that are compared with them.
        n_test: images, never trained on, whose reconstruction is measured; the first so many.

    Raises:
        ValueError: a value out of its range; naming the key.
    """

    label: str
    stand_in: bool

    def __init__(
        self,
        size: int,
        batch_size: int,
        n_eval: int,
        n_test: int,
        seed: int = 0,
        flip: bool = True,
        eval_batch_size: int = 250,
    ) -> None:
        super().__init__()
        given = {"size": size, "batch_size": batch_size, "n_test": n_test, "eval_batch_size": eval_batch_size}
        for name, count in given.items():
            if count < 1:
                raise ValueError(f"data.{name} must be at least 1, got {count}")
        if n_eval < 2:
            raise ValueError(f"data.n_eval must be at least 2, got {n_eval}: a covariance is estimated from them")
        self.size, self.batch_size, self.n_eval, self.n_test = size, batch_size, n_eval, n_test
        self.seed, self.flip, self.eval_batch_size = seed, flip, eval_batch_size
        self.images: Pixels | None = None

    def load(self) -> tuple[Pixels, NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
        """All images, and the indices of those for training and for testing."""
        raise NotImplementedError  # pragma: no cover - every source defines it

    def setup(self, stage: str | None = None) -> None:
        """Load once; every stage has everything."""
        if self.images is not None:
            return
        self.images, self.train, test = self.load()
        if len(test) < self.n_test:
            raise ValueError(f"data.n_test={self.n_test}, but {self.label} has {len(test)} test images")
        if len(self.train) < self.batch_size:
            raise ValueError(f"data.batch_size={self.batch_size} exceeds the {len(self.train)} training images")
        if len(self.images) < self.n_eval:
            raise ValueError(f"data.n_eval={self.n_eval}, but {self.label} has {len(self.images)} images")
        self.test = test[: self.n_test]
        self.shuffled = np.random.default_rng(REFERENCE_SEED).permutation(len(self.images))

    def train_dataloader(self) -> DataLoader:
        assert self.images is not None, "setup() first"
        order = EpochBatches(len(self.train), self.batch_size, self.seed, drop_last=True)
        data = Flipped(self.images, self.train, self.seed if self.flip else None)
        return DataLoader(data, sampler=NumberedBatches(order), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(list(self.batches(self.test)), batch_size=None, shuffle=False)  # type: ignore[arg-type]

    def batches(self, indices: NDArray[np.integer[Any]]) -> Iterator[Tensor]:
        """These images in batches of `eval_batch_size`."""
        assert self.images is not None, "setup() first"
        for start in range(0, len(indices), self.eval_batch_size):
            yield torch.from_numpy(self.images[indices[start : start + self.eval_batch_size]])

    def reference(self) -> Iterator[Tensor]:
        """The `n_eval` real images that distances are measured to."""
        return self.batches(np.sort(self.shuffled[: self.n_eval]))

    @property
    def has_others(self) -> bool:
        """Whether there are as many real images again, for the distance of real to real."""
        return len(self.shuffled) >= 2 * self.n_eval

    def others(self) -> Iterator[Tensor]:
        """`n_eval` real images that are none of `reference`."""
        return self.batches(np.sort(self.shuffled[self.n_eval : 2 * self.n_eval]))


class CelebAData(ImageData):
    """The paper's data: 162,770 training images, cropped to `crop` around the centre (AntixK's: 148) and resized."""

    label, stand_in = "celeba", False

    def __init__(self, cache_dir: str, crop: int = 148, **options: Any) -> None:
        super().__init__(**options)
        self.cache_dir, self.crop = ROOT / Path(cache_dir).expanduser(), crop

    def source(self) -> celeba.Source:
        return celeba.celeba()

    def load(self) -> tuple[Pixels, NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
        source = self.source()
        name = f"{self.label}-{self.crop}-{self.size}"
        images = cached(self.cache_dir, name, source.key, source.files, self.crop, self.size)
        parts = np.array(source.parts)
        return images, np.flatnonzero(parts == celeba.TRAIN), np.flatnonzero(parts == celeba.TEST)


class CelebA10kData(CelebAData):
    """CelebA's first 9,000 images at half scale (a crop of 74 is the paper's of 148); the last 1,000 for testing."""

    label, stand_in = "celeba-half-9000", True
    held_out = 1000

    def source(self) -> celeba.Source:
        return celeba.half_scale(self.held_out)


class GeneratedFaces(ImageData):
    """Face-like pictures (`tasks.vae.faces`), the same for every seed: `n_train` to train on, `n_more` others."""

    label, stand_in = "generated faces", True

    def __init__(self, n_train: int, n_more: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_train, self.n_more = n_train, n_more

    def load(self) -> tuple[Pixels, NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
        images = faces(self.n_train + self.n_more, self.size, REFERENCE_SEED)
        return images, np.arange(self.n_train), np.arange(self.n_train, len(images))


class Flipped(Dataset[Tensor]):
    """Training batches, indexed by (epoch, batch number, indices): the flips depend on seed, epoch and batch alone."""

    def __init__(self, images: Pixels, train: NDArray[np.integer[Any]], seed: int | None) -> None:
        self.images, self.train, self.seed = images, train, seed

    def __getitem__(self, index: tuple[int, int, Tensor]) -> Tensor:
        epoch, batch, chosen = index
        images = self.images[self.train[chosen.numpy()]]  # a copy
        if self.seed is not None:
            mirrored = np.random.default_rng(mix_seed(self.seed, epoch, batch)).random(len(images)) < 0.5
            images[mirrored] = images[mirrored][..., ::-1]  # several times faster than torch.where
        return torch.from_numpy(images)
