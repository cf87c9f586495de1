"""A trained row at work on a few test images: what figures 6.1 and 6.2 show, kept as arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import fpi
from tasks.denoising.drawing import SHOWN, draw_iterates, draw_triptychs
from tasks.denoising.models import Denoiser, FPIDenoiser
from tasks.engine.image_quality import psnr
from tasks.engine.images import Arrays
from tasks.engine.store import write_csv

EXAMPLES = 3  # images of figure 6.1
STEPS = 64  # plain iterations that are followed


def write_pictures(network: Denoiser, noisy: Tensor, truth: Tensor, directory: Path) -> dict[str, Path]:
    """Write pictures.npz, iterates.csv (FPI layers) and their drawings; returns the drawings by title."""
    arrays = examples(network, noisy, truth)
    drawn = {"noisy, denoised, truth": _save(draw_triptychs(arrays), directory / "triptychs.png")}
    if isinstance(network, FPIDenoiser):
        followed, curve = iterates(network, noisy, truth)
        arrays |= followed
        write_csv(directory / "iterates.csv", curve)
        drawn["iterates"] = _save(draw_iterates(arrays), directory / "iterates.png")
    np.savez_compressed(directory / "pictures.npz", **arrays)  # type: ignore[arg-type]
    return drawn


@torch.no_grad()
def examples(network: Denoiser, noisy: Tensor, truth: Tensor) -> Arrays:
    """The first images as 8-bit arrays noisy, denoised, truth (n, height, width), and their PSNR before rounding."""
    noisy, truth = noisy[:EXAMPLES], truth[:EXAMPLES]
    denoised = network(noisy)
    return {
        **{name: _bytes(images) for name, images in (("noisy", noisy), ("denoised", denoised), ("truth", truth))},
        "psnr_noisy": psnr(noisy, truth).cpu().numpy(),
        "psnr_denoised": psnr(denoised, truth).cpu().numpy(),
    }


@torch.no_grad()
def iterates(network: FPIDenoiser, noisy: Tensor, truth: Tensor) -> tuple[Arrays, list[dict[str, float]]]:
    """The states x_1, x_2, ... that the layer's own solver goes through from x_0 = 0, beyond its stopping point.

    Returns:
        The first image's states SHOWN and its fixed point as 8-bit arrays with their PSNR; and for every iteration the
        means over the images of PSNR and of ‖g(x_n) − x_n‖² / ‖x_n‖² (eq. 5.4).
    """
    layer = network.layer
    images: list[Tensor] = []
    numbers: list[float] = []
    curve: list[dict[str, float]] = []

    def record(module: nn.Module, given: tuple[Tensor, ...], new: Tensor) -> None:
        x, step = given[0], len(curve)
        if step in SHOWN:
            images.append(x[:1].clone())
            numbers.append(float(psnr(x[:1], truth[:1])))
        change = (new - x).flatten(1).square().sum(1) / (x.flatten(1).square().sum(1) + 1e-30)
        curve.append({"iteration": step, "psnr": float(psnr(x, truth).mean()), "residual": float(change.mean())})

    handle = layer.g.register_forward_hook(record)
    try:
        endless: Any = fpi.Relative(0.0)
        solver = replace(layer.solver, criterion=endless, max_iter=STEPS + 1, check_every=1, on_failure="ignore")
        fpi.fixed_point(layer.g, layer.initial_state(noisy), layer.g.inject(noisy), solver=solver)  # type: ignore[operator]
    finally:
        handle.remove()
    fixed = network(noisy[:1])
    arrays = {
        "iterates": _bytes(torch.cat([*images, fixed])),
        "psnr_iterates": np.array([*numbers, float(psnr(fixed, truth[:1]))]),
    }
    return arrays, curve[1:]  # x_0 = 0 is no image


def _save(fig: Figure, path: Path) -> Path:
    fig.savefig(path, dpi=100)
    plt.close(fig)
    return path


def _bytes(images: Tensor) -> np.ndarray:
    return (images[:, 0].clamp(0, 1) * 255).round().byte().cpu().numpy()
