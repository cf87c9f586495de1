"""Where data lie: the look-up of the manifest's files, which are never used unless size and sha256 are right.

Files are looked for in the folder named by the environment variable FPI_DATA, then in `data/`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tasks.engine.manifest import MANIFEST, DataError, DataFile, select

DATA_DIR = MANIFEST.parent
NAMED = 3  # files of a folder that a message names; a data set may have hundreds


class DataNotFoundError(DataError):
    """A file is in none of the places searched, or is there with other bytes than the manifest's."""


class DataDamagedError(DataNotFoundError):
    """No place has the right file, and one has `damaged`: files of other bytes than the manifest's."""

    def __init__(self, message: str, damaged: list[Path]) -> None:
        super().__init__(message)
        self.damaged = damaged


def locate(name: str, *, manifest: Path = MANIFEST) -> Path:
    """The folder of a data set's first file ("bibtex") or the path of one file ("bibtex/bibtex-train.arff").

    Size and sha256 of every file asked for are verified (once per process and file). Where the files of a data set are
    missing, it may lie unpacked: the folder of what the manifest names under `unpacked`. Raises DataNotFoundError or
    DataDamagedError, naming the places searched and the fix, or ManifestError if the manifest has no such name.
    """
    dataset, files = select(name, manifest)
    problems: list[str] = []
    damaged: list[Path] = []
    for place, label in search_places():
        wrong = {file: text for file in files if (text := problem(place / file.path, file))}
        damaged += [place / file.path for file in wrong if (place / file.path).exists()]
        found = [f"in {label}: {text}" for text in wrong.values()]
        if not found:
            path = place / files[0].path
            return path if name == files[0].path else path.parent
        problems += found[:NAMED] + [f"in {label}: and {len(found) - NAMED} more"] * (len(found) > NAMED)
        if name == dataset.name:
            for other in dataset.unpacked:
                if (place / other).is_file():
                    return (place / other).parent
    fix = f"set FPI_DATA to a folder that has {' or '.join([files[0].path, *dataset.unpacked[:1]])}"
    fix = f"run `make data-{dataset.name}`, or {fix}" if dataset.downloadable else f"{fix} ({dataset.terms})"
    text = "\n  ".join(["", *problems, f"Fix: {fix}."])
    if damaged:
        raise DataDamagedError(f"data '{name}' damaged{text}", damaged)
    raise DataNotFoundError(f"data '{name}' not found{text}")


def is_available(name: str, *, manifest: Path = MANIFEST) -> bool:
    """Whether `locate(name)` would succeed."""
    try:
        locate(name, manifest=manifest)
    except DataNotFoundError:
        return False
    return True


def search_places() -> Iterator[tuple[Path, str]]:
    """The folders searched, best first, each with the label that messages use."""
    if root := os.environ.get("FPI_DATA"):
        yield Path(root).expanduser(), f"FPI_DATA={root}"
    yield DATA_DIR, str(DATA_DIR)


def problem(path: Path, file: DataFile) -> str | None:
    """What is wrong with the copy of `file` at `path`, or None."""
    try:
        stat = path.stat()
    except OSError:
        return f"{file.path} is missing"
    if file.size is not None and stat.st_size != file.size:
        return f"{file.path} has {stat.st_size:,} bytes, expected {file.size:,}"
    if file.sha256 is None:
        return None
    digest = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if digest != file.sha256:
        return f"{file.path} has sha256 {digest[:12]}..., expected {file.sha256[:12]}..."
    return None


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    # size and time are part of the key only: a file that changes is read again
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
