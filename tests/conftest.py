"""What all tests share: one thread, real data and devices only where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

NO_DATA = "needs real data: set FPI_DATA to a folder that has them (after `make data-bibtex`: FPI_DATA=data)"
NO_GPU = "needs a CUDA device"


def _data_folder() -> Path | None:
    folder = os.environ.get("FPI_DATA")
    return Path(folder).expanduser().resolve() if folder and Path(folder).expanduser().is_dir() else None


def pytest_configure(config: pytest.Config) -> None:
    # Tests are tiny: more threads only make them slower, and sums differ in the last bits between thread counts.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("data") and _data_folder() is None:
            item.add_marker(pytest.mark.skip(reason=NO_DATA))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason=NO_GPU))


@pytest.fixture
def fpi_data() -> Path:
    """The folder of real data named by FPI_DATA; skips the test without one."""
    folder = _data_folder()
    if folder is None:
        pytest.skip(NO_DATA)
    return folder
