"""A certified bound on ‖∂g/∂x‖ of conv-ReLU-conv, and the projection that keeps it (thesis 4.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import fpi

POINTS = 64  # frequencies sampled along each axis


@torch.no_grad()
def convolution_norm(weight: Tensor) -> float:
    """An upper bound of the operator norm of a zero-padded convolution with one channel on either side.

    On unbounded images the squared norm is the maximum over frequencies of Σ_c |ŵ_c(ω)|², a trigonometric polynomial
    of degree k − 1 in each variable; zero padding can only lower it.  Between POINTS samples an axis, such a polynomial
    exceeds the largest sample by at most 1 / cos(π (k − 1) / POINTS) an axis (Ehlich and Zeller 1964), which is added:
    0.5 % of the norm for k = 3.

    Args:
        weight: (channels, 1, k, k) or (1, channels, k, k).
    """
    if 1 not in weight.shape[:2]:
        raise ValueError(f"convolution_norm: one of the sides must have one channel, got weight {tuple(weight.shape)}")
    taps = weight.detach().double().flatten(0, 1)
    power = torch.fft.fft2(taps, s=(POINTS, POINTS)).abs().square().sum(0).max()
    return math.sqrt(float(power)) / math.cos(math.pi * (weight.shape[-1] - 1) / POINTS)


@torch.no_grad()
def limit_lipschitz_(layer: fpi.FPI_NN, bound: float) -> float:
    """Scale the first convolution's x-part down, in place, so that ‖∂g/∂x‖ ≤ ``bound`` at every x.

    Returns the bound before the projection.  The map of z keeps its full freedom.
    """
    first, _, last = layer.g.net  # type: ignore[misc]
    before = convolution_norm(first.weight[:, :1]) * convolution_norm(last.weight)
    if before > bound:
        first.weight[:, :1] *= bound / before
    return before
