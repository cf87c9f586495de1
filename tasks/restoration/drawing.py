"""Images from kept arrays: for the log of a run and, without torch, for the report."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def draw_examples(arrays: dict[str, np.ndarray]) -> Figure:
    """Input | restored | truth, one row an image, with PSNR."""
    count, height, width = arrays["truth"].shape
    fig, axes = plt.subplots(count, 3, figsize=(7.5, 2.7 * count * height / width), squeeze=False, layout="constrained")
    for i, line in enumerate(axes):
        titles = [f"input, {arrays['psnr_input'][i]:.2f} dB", f"restored, {arrays['psnr_restored'][i]:.2f} dB", "truth"]
        for ax, name, title in zip(line, ("input", "restored", "truth"), titles, strict=True):
            show(ax, arrays[name][i], title)
    return fig


def show(ax: plt.Axes, image: np.ndarray, title: str) -> None:
    """A gray image of 8 bits under its title."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_title(title, fontsize=8)
    ax.axis("off")
