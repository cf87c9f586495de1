"""Rows of kept images: for the log of a run and, without torch, for the report."""

from __future__ import annotations

import numpy as np

from tasks.engine.images import Picture

BETWEEN = 8  # images of the interpolation
KEPT = (0, 1, 2, 5, 10, 20, 30)  # the steps of an inversion whose reconstructions are kept


def row_of(images: np.ndarray, title: str) -> Picture:
    """A row of images (count, size, size, 3)."""
    return Picture(np.concatenate(list(images), axis=1), title, {"interpolation": "nearest"})
