"""Where the images and kernels of each data set come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from tasks.engine.data import locate

ImageSet = list[tuple[str, Tensor]]  # (name, image of shape (1, height, width) on [0, 1])

TRAIN_PHOTOGRAPHS = ("astronaut", "brick", "chelsea", "coins", "grass", "motorcycle_left")
TEST_PHOTOGRAPHS = ("camera", "coffee", "gravel", "moon")  # PNG all: decoded to the same bits everywhere


def read_gray(path: Path) -> Tensor:
    """An 8-bit image file as (1, height, width) on [0, 1]; colours as ITU-R 601 luma (Pillow's "L").

    Raises:
        ValueError: it cannot be decoded, or has another kind of pixel; the message names the file.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
                raise ValueError(
                    f"{path} has the colour mode {picture.mode}; expected 8-bit gray or RGB: convert it first"
                )
            gray = picture.convert("RGB").convert("L") if picture.mode == "P" else picture.convert("L")
            return torch.from_numpy(np.asarray(gray, dtype=np.float32) / 255)[None]
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not an image file, or it is damaged: {error}") from error


def embedded(n_train: int, n_test: int, crop: int, test_crop: int) -> tuple[ImageSet, ImageSet]:
    """Crops of scikit-image's photographs, halved in size: equally many of each photograph, spread over it.

    Raises:
        ValueError: a photograph is smaller than the crop.
    """
    return _crops(TRAIN_PHOTOGRAPHS, n_train, crop), _crops(TEST_PHOTOGRAPHS, n_test, test_crop)


def train400() -> ImageSet:
    """400 gray 180 × 180 crops of BSDS500."""
    return _folder(locate("train400").parent / "train400")


def benchmark(name: str) -> ImageSet:
    """The images of ``bsd68`` or ``set12``, full size."""
    return _folder(locate("train400").parent / name)


def _folder(folder: Path) -> ImageSet:
    return [(f"{folder.name}/{path.name}", read_gray(path)) for path in sorted(folder.glob("*.png"))]


def _crops(photographs: tuple[str, ...], count: int, crop: int) -> ImageSet:
    found: list[ImageSet] = []
    each = -(-count // len(photographs))
    for name in photographs:
        with Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png") as picture:
            image = np.asarray(picture.convert("RGB").reduce(2).convert("L"), dtype=np.float32) / 255
        if min(image.shape) < crop:
            raise ValueError(f"{name} has {image.shape[1]} x {image.shape[0]} pixels when halved: choose data.crop")
        side = int(np.ceil(np.sqrt(each)))  # crops along each axis; they overlap where the photograph is small
        rows, columns = (np.linspace(0, extent - crop, side).astype(int) for extent in image.shape)
        places = [(top, left) for top in rows for left in columns][:each]
        places = places[each // 2 :] + places[: each // 2]  # the middle first: there is more to see
        pieces = [np.ascontiguousarray(image[y : y + crop, x : x + crop]) for y, x in places]
        found.append([(f"{name}-{i}", torch.from_numpy(piece)[None]) for i, piece in enumerate(pieces)])
    # one of each photograph in turn, so that a shorter list has them all
    return [entry for group in zip(*found, strict=True) for entry in group][:count]
