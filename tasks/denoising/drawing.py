"""Figures 6.1 and 6.2 from kept arrays: for the log of a run and, without torch, for the report."""

from __future__ import annotations

from matplotlib.figure import Figure

from tasks.engine.images import Arrays, Picture, beside_truth, grid

SHOWN = (1, 2, 4, 8, 16, 32, 64)  # the iterations whose images are kept


def draw_triptychs(arrays: Arrays) -> Figure:
    """Noisy | denoised | truth, one row an image, with PSNR (figure 6.1)."""
    return beside_truth(arrays, "noisy", "denoised")


def draw_iterates(arrays: Arrays) -> Figure:
    """x_1, x_2, x_4, ... and x̂ of one image with PSNR (figure 6.2)."""
    names = [f"$x_{{{step}}}$" for step in SHOWN] + [r"$\hat{x}$"]
    pictures = [
        Picture(image, f"{name}, {value:.2f} dB")
        for image, name, value in zip(arrays["iterates"], names, arrays["psnr_iterates"], strict=True)
    ]
    half = len(pictures) // 2
    return grid([pictures[:half], pictures[half:]], 10)
