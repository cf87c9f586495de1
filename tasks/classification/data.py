"""Lightning data modules of the task: images standardised by the training set's mean and deviation a channel.

A batch is (images, labels): float32 (batch, channels, height, width) and int64 (batch,). Evaluation sees the images as
they are: augmentation is for training alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tasks.classification import sources
from tasks.classification.sources import Labelled, Sets
from tasks.engine.batches import EpochBatches, mix_seed

PAD = 4  # pixels, of the augmentation


class ImageData(L.LightningDataModule):
    """What all sources share: the hold-out, standardisation, augmentation and batches.

    Args:
        image_shape: channels, height and width the network is made for.
        batch_size: training images a batch; `eval_batch_size` in evaluation, which changes no result.
        seed: of the hold-out and the batch order.
        holdout: part of the training images kept for validation. 0: the paper's protocol, in which the *test* images
            are the validation set. Above 0: the honest protocol.
        n_train, n_test: take the first so many images; None: all.
        augment: random shifts by up to 4 pixels and horizontal flips in training.

    Raises:
        ValueError: a value out of its range, or images of another shape than `image_shape`.
    """

    label: str
    stand_in: bool

    def __init__(
        self,
        image_shape: Sequence[int],
        batch_size: int,
        seed: int = 0,
        holdout: float = 0.0,
        n_train: int | None = None,
        n_test: int | None = None,
        augment: bool = False,
        eval_batch_size: int = 500,
    ) -> None:
        super().__init__()
        if not 0 <= holdout < 1:
            raise ValueError(f"data.holdout must be in [0, 1), got {holdout}: 0 (paper) or for instance 0.1 (honest)")
        for name, count in {"batch_size": batch_size, "n_train": n_train, "n_test": n_test}.items():
            if count is not None and count < 1:
                raise ValueError(f"data.{name} must be at least 1, got {count}")
        self.image_shape = tuple(image_shape)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.holdout, self.augment = seed, holdout, augment
        self.n_train, self.n_test = n_train, n_test
        self.train: Labelled | None = None

    def load(self) -> Sets:
        """Read the training and test images."""
        raise NotImplementedError  # pragma: no cover - every source defines it

    def setup(self, stage: str | None = None) -> None:
        """Load, check and split once."""
        if self.train is not None:
            return
        train, test = (self._checked(images) for images in self.load())
        train, self.test = train[torch.arange(len(train))[: self.n_train]], test[torch.arange(len(test))[: self.n_test]]
        held = round(self.holdout * len(train))
        if self.holdout and not 0 < held < len(train):
            raise ValueError(f"data.holdout={self.holdout} leaves none on one side of {len(train)} images")
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(mix_seed(self.seed, 1)))
        self.train, self.val = train[order[held:]], train[order[:held]] if held else self.test
        pixels = self.train.images.transpose(0, 1).flatten(1)
        levels = torch.arange(256.0)  # mean and deviation from the counts: exact, and without a copy as float
        counts = torch.stack([torch.bincount(channel, minlength=256) for channel in pixels]).double()
        share = counts / counts.sum(1, keepdim=True)
        self.mean = (share @ levels.double()).float()[:, None, None]
        squares = (share @ levels.double().square()).float()[:, None, None]
        self.deviation = (squares - self.mean.square()).clamp_min(1.0).sqrt()

    def _checked(self, images: Labelled) -> Labelled:
        if tuple(images.images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"{self.label} has images of shape {tuple(images.images.shape[1:])} (channels, height, width), but "
                f"data.image_shape is {self.image_shape}: set it to the images', and choose an architecture for them"
            )
        return images

    def first_training_images(self, count: int) -> tuple[Tensor, Tensor]:
        """The first training images and labels, not augmented."""
        assert self.train is not None, "setup() first"
        return Standardised(self.train, self.mean, self.deviation)[torch.arange(min(count, len(self.train)))]

    def train_dataloader(self) -> DataLoader:
        assert self.train is not None, "setup() first"
        data = Standardised(self.train, self.mean, self.deviation, augmented if self.augment else None)
        order = EpochBatches(len(self.train), self.batch_size, self.seed)
        return DataLoader(data, sampler=order, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation(self.val)

    def test_dataloader(self) -> DataLoader:
        return self._evaluation(self.test)

    def _evaluation(self, images: Labelled) -> DataLoader:
        order = EpochBatches(len(images), self.eval_batch_size, 0, shuffle=False)
        return DataLoader(Standardised(images, self.mean, self.deviation), sampler=order, batch_size=None)


class Standardised(Dataset):
    """Indexed by a tensor of positions: their images, standardised and changed, and their labels."""

    def __init__(
        self, images: Labelled, mean: Tensor, deviation: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.images, self.mean, self.deviation, self.change = images, mean, deviation, change

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        chosen = self.images[index]
        images = (chosen.images.float() - self.mean) / self.deviation
        return images if self.change is None else self.change(images), chosen.labels


def augmented(images: Tensor) -> Tensor:
    """Each image shifted by up to 4 pixels either way (the mean's colour moves in), and flipped with probability 1/2.

    Randomness is the global generator's, which every epoch seeds anew.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (PAD,) * 4)
    top, left = torch.randint(0, 2 * PAD + 1, (2, count, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    n, c = torch.arange(count)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return padded[n, c, rows[:, None, :, None], columns[:, None, None, :]]


class DigitsData(ImageData):
    """scikit-learn's digits, which it ships: a stand-in for MNIST (gray) and for the others (three equal channels)."""

    label, stand_in = "scikit-learn's digits", True

    def load(self) -> Sets:
        channels, side, _ = self.image_shape
        return sources.digits(side, channels)


class MnistData(ImageData):
    """MNIST."""

    label, stand_in = "MNIST", False

    def load(self) -> Sets:
        return sources.mnist()


class SvhnData(ImageData):
    """SVHN, cropped digits, without its extra images."""

    label, stand_in = "SVHN", False

    def load(self) -> Sets:
        return sources.svhn()


class Cifar10Data(ImageData):
    """CIFAR-10."""

    label, stand_in = "CIFAR-10", False

    def load(self) -> Sets:
        return sources.cifar10()


class Cifar10JpegData(ImageData):
    """A stand-in for CIFAR-10: half of it, re-encoded with loss."""

    label, stand_in = "CIFAR-10 as JPEG (lossy, 20,000 + 5,000)", True

    def load(self) -> Sets:
        return sources.cifar10_jpeg()


class Cifar10LosslessData(ImageData):
    """A stand-in for CIFAR-10: 4,000 of its training images, of which 800 are the test images."""

    label, stand_in = "4,000 training images of CIFAR-10 (3,200 + 800)", True

    def load(self) -> Sets:
        return sources.cifar10_lossless()
