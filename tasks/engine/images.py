"""Kept images drawn without torch: grids of pictures under their titles, and before and after beside the truth.

A grid is one pair of axes, whatever it holds: axes of its own for every picture would take most of a report's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

Arrays = dict[str, np.ndarray]
GAP = 0.08  # inches between pictures
HEADING = 0.3  # inches above them, for the figure's title
GRAY: Mapping[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}


@dataclass(frozen=True)
class Picture:
    """An image under its title.

    Attributes:
        image: (height, width), drawn as `style` says (`Axes.imshow`; by default gray of 8 bits), or
            (height, width, 3) uint8.
        key: a small square image (size, size, 3) for the lower right corner.
    """

    image: np.ndarray
    title: str
    style: Mapping[str, Any] = field(default_factory=lambda: GRAY)
    key: np.ndarray | None = None


def grid(lines: Sequence[Sequence[Picture]], width: float, fontsize: int = 9, framed: bool = False) -> Figure:
    """Lines of pictures, all equally wide, each line as high as its first picture; on one pair of axes.

    Args:
        width: of the figure, inches; its height follows from the pictures.
        framed: a thin line around every picture, for those that are white at the rim.
    """
    columns = max(len(line) for line in lines)
    cell = (width - GAP * (columns - 1)) / columns
    strip = (1.3 * fontsize + 5) / 72  # inches for a title
    heights = [cell * line[0].image.shape[0] / line[0].image.shape[1] for line in lines]
    total = sum(heights) + strip * len(lines) + GAP * (len(lines) - 1)
    fig, ax = plt.subplots(figsize=(width, total + HEADING), layout="constrained")
    ax.set(xlim=(0, width), ylim=(total, 0))
    top, frames = 0.0, []
    for line, height in zip(lines, heights, strict=True):
        top += strip
        for i, picture in enumerate(line):
            left = i * (cell + GAP)
            right, bottom = left + cell, top + height
            ax.imshow(picture.image, extent=(left, right, bottom, top), **picture.style)
            title = (left + cell / 2, top - 5 / 72)
            ax.text(*title, picture.title, fontsize=fontsize, horizontalalignment="center")
            if picture.key is not None:
                side = 0.2 * min(cell, height)
                ax.imshow(picture.key, extent=(right - side, right, bottom, bottom - side))
            frames.append([(left, top), (right, top), (right, bottom), (left, bottom)])
        top += height + GAP
    if framed:
        ax.add_collection(PolyCollection(frames, facecolors="none", edgecolors="0.6", linewidths=0.5))
    ax.axis("off")
    return fig


def beside_truth(arrays: Arrays, before: str, after: str, fontsize: int = 9) -> Figure:
    """Before | after | truth, one row an image, with PSNR in dB.

    Args:
        arrays: 8-bit images (n, height, width) by name, `truth` among them, and the `psnr_` of the first two.
    """
    lines = [
        [
            *(
                Picture(arrays[name][i], f"{name}, {arrays[f'psnr_{name}'][i]:.2f} dB")
                for name in (before, after)
            ),
            Picture(arrays["truth"][i], "truth"),
        ]
        for i in range(len(arrays["truth"]))
    ]  # fmt: skip
    return grid(lines, 7.5, fontsize)


def colour_bar(fig: Figure, label: str) -> None:
    """Beside a grid, the key to the values of its pictures that have a scale of their own (the last one's)."""
    ax: Axes = fig.axes[0]
    scaled = [image for image in ax.images if image.get_array().ndim == 2]  # type: ignore[union-attr]
    fig.colorbar(scaled[-1], ax=ax, shrink=0.8, pad=0.01, label=label)
