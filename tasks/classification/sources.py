"""Where the images of each data set come from; all as uint8 of shape (n, channels, height, width) with int64 labels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tasks.engine.archives import Limits, open_zip, read_gzip, read_member, read_tar
from tasks.engine.data import DataNotFoundError, locate
from tasks.engine.manifest import DataError

TEST_DIGITS = 360  # of scikit-learn's 1,797
MNIST_BYTES = 60_000 * 28 * 28 + 16  # of its largest file
CIFAR_TRAIN, CIFAR_TEST = tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the label, and the image with its channels first
CIFAR_LIMITS = Limits(total=200 * 10**6, files=100)
JPEG_LIMITS = Limits(total=100 * 10**6, files=50_000)
CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class Labelled:
    """Images, uint8 (n, channels, height, width), and labels, int64 (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> Labelled:
        return Labelled(self.images[index], self.labels[index])


Sets = tuple[Labelled, Labelled]  # training, test


def digits(side: int, channels: int) -> Sets:
    """scikit-learn's 8 × 8 digits, resized to `side` pixels, gray levels repeated over the channels.

    360 test images, a tenth of which is of each digit, are the same at all times.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    content = load_digits()
    images = torch.from_numpy(content.images).float()[:, None] * (255 / 16)
    images = F.interpolate(images, (side, side), mode="bilinear").round().to(torch.uint8)
    labels = torch.from_numpy(content.target).long()
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_DIGITS, random_state=0, stratify=content.target
    )
    whole = Labelled(images.expand(-1, channels, -1, -1).contiguous(), labels)
    return whole[torch.from_numpy(train)], whole[torch.from_numpy(test)]


def mnist() -> Sets:
    """MNIST: one mnist.npz, or the four original files."""
    try:
        path = locate("classification/mnist.npz")
    except DataNotFoundError as one_file:
        try:
            folder = locate("mnist")
        except DataNotFoundError as four_files:
            raise DataNotFoundError(f"{one_file}\nand {four_files}") from one_file
        names = [f"{which}-{what}-ubyte.gz" for which in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
        arrays = [_idx(folder / name) for name in names]
    else:
        with np.load(path) as content:
            arrays = [content[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    sets = [_labelled(images[:, None], labels) for images, labels in (arrays[:2], arrays[2:])]
    return sets[0], sets[1]


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format: two zero bytes, the type, the number of dimensions, their sizes."""
    content = read_gzip(path, MNIST_BYTES)
    dimensions = np.frombuffer(content, ">i4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(dimensions)).reshape(dimensions)


def svhn() -> Sets:
    """SVHN's cropped digits, 73,257 for training and 26,032 for testing, read by torchvision."""
    from torchvision.datasets import SVHN

    folder = locate("svhn")
    sets = [SVHN(str(folder), split) for split in ("train", "test")]
    train, test = (_labelled(content.data, content.labels) for content in sets)
    return train, test


def cifar10() -> Sets:
    """CIFAR-10, 50,000 for training and 10,000 for testing, from its binary version (the Python version is pickled)."""
    path = locate("cifar10") / "cifar-10-binary.tar.gz"
    content = read_tar(path, [*CIFAR_TRAIN, CIFAR_TEST], CIFAR_LIMITS)
    return _records(path, b"".join(content[name] for name in CIFAR_TRAIN)), _records(path, content[CIFAR_TEST])


def _records(path: Path, content: bytes) -> Labelled:
    if len(content) % CIFAR_RECORD:
        raise DataError(f"{path} has no whole number of records of {CIFAR_RECORD:,} bytes, a label and an image each")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    return _labelled(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0])


def cifar10_lossless() -> Sets:
    """The first 4,000 training images of CIFAR-10, without loss: 3,200 for training, the others for testing."""
    with np.load(locate("classification/cifar10_lossless_4000.npz")) as content:
        whole = _labelled(content["x"].transpose(0, 3, 1, 2), content["y"])
    return whole[torch.arange(3200)], whole[torch.arange(3200, 4000)]


def cifar10_jpeg() -> Sets:
    """CIFAR-10 re-encoded as JPEG, with loss: 2,000 images of each class for training, 500 for testing, in turn."""
    path = locate("classification/cifar10-jpeg-20000-5000.zip")
    with open_zip(path, JPEG_LIMITS) as archive:
        # by number, then class: the first so many (data.n_train) have all classes
        names = sorted(archive.namelist(), key=lambda name: (name.rpartition("/")[2], name))
        sets = [_jpegs(archive, [name for name in names if name.startswith(which)]) for which in ("train/", "test/")]
    return sets[0], sets[1]


def _jpegs(archive: ZipFile, names: list[str]) -> Labelled:
    if not names:
        raise DataError(f"{archive.filename} has no images where train/CLASS/*.jpg and test/CLASS/*.jpg are expected")
    images = np.stack([np.asarray(Image.open(io.BytesIO(read_member(archive, name))).convert("RGB")) for name in names])
    labels = np.array([CIFAR_NAMES.index(name.split("/")[1]) for name in names])
    return _labelled(images.transpose(0, 3, 1, 2), labels)


def _labelled(images: np.ndarray, labels: np.ndarray) -> Labelled:
    return Labelled(torch.from_numpy(np.array(images, order="C")), torch.from_numpy(labels.astype(np.int64)))
