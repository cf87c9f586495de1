"""HDF5 files through h5py, which is optional, with errors that name the file and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The open file.

    Raises:
        ModuleNotFoundError: h5py is not installed.
        ValueError: it is not an HDF5 file, or lacks what is read from it inside the block.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading {path.name} needs h5py: `pip install h5py`, or choose generated kernels and "
            "task.denoisers=own"
        ) from error
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is not the HDF5 file expected, or it is damaged: {error}") from error
