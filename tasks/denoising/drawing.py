"""Figures 6.1 and 6.2 from kept arrays: for the log of a run and, without torch, for the report."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

SHOWN = (1, 2, 4, 8, 16, 32, 64)  # the iterations whose images are kept

Arrays = dict[str, np.ndarray]


def draw_triptychs(arrays: Arrays) -> Figure:
    """Noisy | denoised | truth, one row an image, with PSNR (figure 6.1)."""
    count, height, width = arrays["truth"].shape
    fig, axes = plt.subplots(count, 3, figsize=(7.5, 2.7 * count * height / width), squeeze=False, layout="constrained")
    for i, line in enumerate(axes):
        titles = [f"noisy, {arrays['psnr_noisy'][i]:.2f} dB", f"denoised, {arrays['psnr_denoised'][i]:.2f} dB", "truth"]
        for ax, name, title in zip(line, ("noisy", "denoised", "truth"), titles, strict=True):
            _show(ax, arrays[name][i], title)
    return fig


def draw_iterates(arrays: Arrays) -> Figure:
    """x_1, x_2, x_4, ... and x̂ of one image with PSNR (figure 6.2)."""
    count, height, width = arrays["iterates"].shape
    fig, axes = plt.subplots(2, count // 2, figsize=(10, 5.6 * height / width), layout="constrained")
    names = [f"$x_{{{step}}}$" for step in SHOWN] + [r"$\hat{x}$"]
    for ax, image, name, value in zip(axes.flat, arrays["iterates"], names, arrays["psnr_iterates"], strict=True):
        _show(ax, image, f"{name}, {value:.2f} dB")
    return fig


def _show(ax: Any, image: np.ndarray, title: str) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
