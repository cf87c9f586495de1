"""Where the images of each data set come from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import skimage
import torch
from PIL import Image
from torch import Tensor

from tasks.denoising.images import ImageError, Opener, as_gray, files, read_all
from tasks.engine.archives import ArchiveError, Limits, open_zip, read_member
from tasks.engine.data import DataNotFoundError, locate

ImageSet = list[tuple[str, Tensor]]  # (name, image of shape (1, height, width))
Found = tuple[ImageSet, list[ImageError]]

CHAIRS_LIMITS = Limits(total=100 * 10**9, files=100_000)  # 22,872 pairs and their flows: 63 GB
TRAIN_PHOTOGRAPHS = ("astronaut", "brick", "chelsea", "coins", "grass", "motorcycle_left")
TEST_PHOTOGRAPHS = ("camera", "coffee", "gravel", "moon")  # PNG all: decoded to the same bits everywhere


def flying_chairs(count: int, crop: int) -> Found:
    """First frames 00001 ... of FlyingChairs, from its zip file or the folder it was unpacked to.

    Raises:
        DataNotFoundError: neither is in a data folder.
    """
    names = [f"{number:05d}_img1.ppm" for number in range(1, count + 1)]
    folder = locate("flyingchairs")
    if (archive := folder / "FlyingChairs.zip").is_file():
        return _from_zip(archive, names, crop)
    return read_all(((str(folder / name), (folder / name).read_bytes) for name in names), crop)


def _from_zip(path: Path, names: list[str], crop: int) -> Found:
    with open_zip(path, CHAIRS_LIMITS) as archive:
        members = {os.path.basename(member): member for member in archive.namelist()}
        found = [(f"{path}:{name}", partial(_member, archive, members[name])) for name in names if name in members]
        return read_all(found, crop)


def _member(archive: ZipFile, name: str) -> bytes:
    try:
        return read_member(archive, name)
    except ArchiveError as error:
        raise ImageError(str(error)) from error


def train400_images(test_sets: Iterable[str], crop: int) -> tuple[ImageSet, dict[str, ImageSet], list[ImageError]]:
    """400 gray 180 × 180 crops of BSDS500, and the test sets asked for (bsd68, set12, bsdsval100)."""
    root = locate("train400").parent
    train, problems = _named(root / "train400", crop)
    tests: dict[str, ImageSet] = {}
    for name in test_sets:
        folder = root / name if name in ("bsd68", "set12") else locate(name)
        tests[name], more = _named(folder, None)
        problems += more
    return train, tests, problems


def folder_images(folder: Path, crop: int | None) -> Found:
    """All image files of a folder. Raises DataNotFoundError if there is no such folder."""
    if not folder.is_dir():
        raise DataNotFoundError(f"{folder} is not a folder: set data.train_folder and data.test_folder")
    return read_all(files(folder), crop)


def _named(folder: Path, crop: int | None) -> Found:
    """Images of a data set under names that do not depend on where it lies: the noise is drawn from them."""
    sources: list[tuple[str, Opener]] = [(f"{folder.name}/{Path(name).name}", read) for name, read in files(folder)]
    return read_all(sources, crop)


def embedded(n_train: int, n_test: int, crop: int) -> tuple[ImageSet, ImageSet]:
    """Crops of scikit-image's photographs, halved in size: equally many of each photograph, spread over it."""
    return _crops(TRAIN_PHOTOGRAPHS, n_train, crop), _crops(TEST_PHOTOGRAPHS, n_test, crop)


def _crops(photographs: tuple[str, ...], count: int, crop: int) -> ImageSet:
    found: list[ImageSet] = []
    for name in photographs:
        with Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png") as picture:
            image = as_gray(name, picture.convert("RGB").reduce(2))
        each = -(-count // len(photographs))
        side = int(np.ceil(np.sqrt(each)))  # crops along each axis; they overlap where the photograph is small
        corners = [np.linspace(0, extent - crop, side).astype(int) for extent in image.shape]
        if min(image.shape) < crop:
            raise ImageError(f"{name} has {image.shape[1]} x {image.shape[0]} pixels when halved: choose data.crop")
        places = [(top, left) for top in corners[0] for left in corners[1]][:each]
        places = places[each // 2 :] + places[: each // 2]  # the middle first: there is more to see
        pieces = [np.ascontiguousarray(image[y : y + crop, x : x + crop]) for y, x in places]
        found.append([(f"{name}-{i}", torch.from_numpy(piece)[None]) for i, piece in enumerate(pieces)])
    # one of each photograph in turn, so that a shorter list has them all
    return [entry for group in zip(*found, strict=True) for entry in group][:count]
