"""CelebA on disk: torchvision's layout (the paper's data), and 9,000 of its images at half scale in a zip file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from tasks.engine import console
from tasks.engine.archives import ArchiveError, Limits, open_zip, read_member
from tasks.engine.data import DataNotFoundError, search_places
from tasks.vae.cache import Opener

FOLDER, IMAGES, PARTITION = "celeba", "img_align_celeba", "list_eval_partition.txt"
COUNT = 202_599  # images of CelebA
HALF_ZIP, HALF_COUNT = "celeba-half-000001-009000.zip", 9_000
HALF_LIMITS = Limits(total=10**9, files=20_000)
HALF_KEY = "00140e81b75bf3c9"  # digest of names and CRCs: the images themselves, however they are zipped
TRAIN, VALIDATION, TEST = 0, 1, 2  # of the partition file


@dataclass
class Source:
    """Image files in order, the part (TRAIN, ...) of each, and a key that other files do not have."""

    files: Sequence[Opener]
    parts: list[int]
    key: str


def celeba() -> Source:
    """The whole data set, in the partition file's order.

    Raises:
        DataNotFoundError: the partition file is missing or damaged, or images that it lists are missing.
    """
    root = _folder(IMAGES)
    listed = _partition(root / PARTITION)
    there = {entry.name: entry.stat().st_size for entry in os.scandir(root / IMAGES)}
    missing = [name for name, _ in listed if name not in there]
    if missing:
        raise DataNotFoundError(
            f"{root / IMAGES} has {len(listed) - len(missing):,} of the {len(listed):,} images that {PARTITION} lists; "
            f"the first that is missing is {missing[0]}. Fix: unpack img_align_celeba.zip there again."
        )
    files = [(str(root / IMAGES / name), partial((root / IMAGES / name).read_bytes)) for name, _ in listed]
    return Source(files, [part for _, part in listed], _key(f"{name} {there[name]} {part}" for name, part in listed))


def _partition(path: Path) -> list[tuple[str, int]]:
    fix = f"Fix: get {PARTITION} from CelebA's page (Eval) and put it beside {IMAGES}/."
    if not path.is_file():
        raise DataNotFoundError(f"{path} is missing: it says which images are for training and for testing. {fix}")
    listed = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if len(parts) != 2 or parts[1] not in ("0", "1", "2"):
            raise DataNotFoundError(f"{path}, line {number}: expected 'NAME 0|1|2', got {line[:60]!r}. {fix}")
        listed.append((parts[0], int(parts[1])))
    if len(listed) != COUNT:
        raise DataNotFoundError(f"{path} lists {len(listed):,} images, CelebA has {COUNT:,}. {fix}")
    return listed


def half_scale(n_test: int) -> Source:
    """000001.jpg to 009000.jpg at half scale (89 × 109 pixels), of which the last `n_test` are for testing.

    Raises:
        DataNotFoundError: the zip file is missing or damaged, or has other images.
    """
    path = _folder(HALF_ZIP) / HALF_ZIP
    names = [f"{number:06d}.jpg" for number in range(1, HALF_COUNT + 1)]
    archive = open_zip(path, HALF_LIMITS)
    members = {os.path.basename(member.filename): member for member in archive.infolist()}
    missing = [name for name in names if name not in members]
    if missing:
        raise DataNotFoundError(
            f"{path} has {HALF_COUNT - len(missing):,} of {HALF_COUNT:,} images; the first that is missing is "
            f"{missing[0]}. Fix: get it again."
        )
    files = [(f"{path.name}:{name}", partial(_member, archive, members[name])) for name in names]
    parts = [TRAIN] * (HALF_COUNT - n_test) + [TEST] * n_test
    key = _key(f"{name} {members[name].CRC}" for name in names)
    if key != HALF_KEY:
        console.warn(f"{path} has other images than those of data/manifest.yaml (digest {key}, expected {HALF_KEY})")
    return Source(files, parts, key)


def _member(archive: ZipFile, member: ZipInfo) -> bytes:
    try:
        return read_member(archive, member)
    except ArchiveError:  # the decoder says what is left of it
        return b""


def _key(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _folder(content: str) -> Path:
    """The folder celeba/ of the first data folder that has this entry in it."""
    for root, _ in search_places():
        if (root / FOLDER / content).exists():
            return root / FOLDER
    places = " or ".join(label for _, label in search_places())
    raise DataNotFoundError(
        f"CelebA was not found: {FOLDER}/{content} is not in {places}. Fix: point FPI_DATA to a folder that has it "
        "(data/README.md says where it comes from), or choose profile=sample."
    )
