"""Decoded images on disk: one memory-mapped uint8 array per source, made once, verified by its checksum."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tasks.engine import console, environment
from tasks.engine.store import read_json, write_json

Opener = tuple[str, Callable[[], bytes]]  # an image's name and how its file's bytes are read
Pixels = NDArray[np.uint8]

SHOWN = 5  # damaged files that an error names
CHUNK = 2048  # files held in memory


class ImageFileError(ValueError):
    """Files that are not images, or too small; the message names them."""


def cached(folder: Path, name: str, key: str, files: Sequence[Opener], crop: int, size: int) -> Pixels:
    """The images of these files, (count, 3, size, size), read-only and memory-mapped.

    A cache that is there with the right key and checksum is used as it is; otherwise it is made, and appears only when
    complete. Processes that ask at once wait for the first.

    Args:
        folder: where caches lie; created.
        name: of the cache's file, beside which <name>.json has its key and sha256.
        key: what the content depends on: another key makes the cache anew.
        files: in order.
        crop: side of the square cut from the centre; the files must have it.
        size: side it is resized to (Pillow's bilinear filter with antialiasing, as torchvision's transforms).

    Raises:
        ImageFileError: files that cannot be decoded, or are smaller than the crop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, record = folder / f"{name}.npy", folder / f"{name}.json"
    expected = {"key": key, "shape": [len(files), 3, size, size], "crop": crop}
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read_json(record)
        if target.exists() and known is not None and {k: known.get(k) for k in expected} == expected:
            if _digest(target) == known.get("sha256"):
                return _open(target)
            console.warn(f"{target} does not have the checksum it was written with: making it again")
        console.say(f"decoding {len(files):,} images into {target} (once)", style="dim")
        part = target.with_suffix(".part")
        try:
            _write(part, files, crop, size)
            digest = _digest(part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        write_json(record, {**expected, "sha256": digest})
    return _open(target)


def _open(path: Path) -> Pixels:
    array: Pixels = np.load(path, mmap_mode="r")
    return array


def _write(path: Path, files: Sequence[Opener], crop: int, size: int) -> None:
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(files), 3, size, size))
    damaged: list[str] = []
    workers = environment.cores()

    def decode(entry: tuple[str, bytes]) -> Pixels | str:
        return _decode(*entry, crop, size)

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), CHUNK):  # in pieces: the pool would read all files at once
            chunk = ((name, read()) for name, read in files[start : start + CHUNK])
            for position, result in enumerate(pool.map(decode, chunk), start):
                if isinstance(result, str):
                    damaged.append(result)
                else:
                    out[position] = result
    if damaged:
        more = f" and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
        listed = "\n  ".join(damaged[:SHOWN])
        raise ImageFileError(
            f"{len(damaged)} of {len(files)} files are no usable images:\n  {listed}{more}\n"
            "Fix: get these files again (a download may have been cut short)."
        )
    out.flush()


def _decode(name: str, content: bytes, crop: int, size: int) -> Pixels | str:
    """The image, or why there is none."""
    try:
        with Image.open(BytesIO(content)) as picture:
            image = picture.convert("RGB")
    except UnidentifiedImageError:
        return f"{name}: not an image ({len(content):,} bytes)"
    except (OSError, ValueError) as error:
        return f"{name}: {error}"
    width, height = image.size
    if min(width, height) < crop:
        return f"{name}: {width} × {height} pixels, at least {crop} × {crop} are needed"
    left, top = round((width - crop) / 2), round((height - crop) / 2)  # as torchvision's CenterCrop
    square = image.crop((left, top, left + crop, top + crop))
    resized = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
