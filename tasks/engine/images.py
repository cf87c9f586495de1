"""Gray images drawn from kept arrays, without torch: under their titles, and before and after beside the truth."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Arrays = dict[str, np.ndarray]


def show(ax: Axes, image: np.ndarray, title: str, fontsize: int = 9) -> None:
    """A gray image of 8 bits under its title."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_title(title, fontsize=fontsize)
    ax.axis("off")


def beside_truth(arrays: Arrays, before: str, after: str, fontsize: int = 9) -> Figure:
    """Before | after | truth, one row an image, with PSNR in dB.

    Args:
        arrays: 8-bit images (n, height, width) by name, `truth` among them, and the `psnr_` of the first two.
    """
    count, height, width = arrays["truth"].shape
    fig, axes = plt.subplots(count, 3, figsize=(7.5, 2.7 * count * height / width), squeeze=False, layout="constrained")
    for i, line in enumerate(axes):
        titles = [*(f"{name}, {arrays[f'psnr_{name}'][i]:.2f} dB" for name in (before, after)), "truth"]
        for ax, name, title in zip(line, (before, after, "truth"), titles, strict=True):
            show(ax, arrays[name][i], title, fontsize)
    return fig
