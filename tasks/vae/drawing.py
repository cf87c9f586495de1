"""Rows of kept images: for the log of a run and, without torch, for the report."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

BETWEEN = 8  # images of the interpolation
KEPT = (0, 1, 2, 5, 10, 20, 30)  # the steps of an inversion whose reconstructions are kept


def show(ax: Axes, images: np.ndarray, title: str) -> None:
    """A row of images (count, size, size, 3)."""
    ax.imshow(np.concatenate(list(images), axis=1), interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
