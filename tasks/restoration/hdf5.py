"""HDF5 files, with errors that name the file and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The open file.

    Raises:
        ValueError: it is not an HDF5 file, or lacks what is read from it inside the block.
    """
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is not the HDF5 file expected, or it is damaged: {error}") from error
