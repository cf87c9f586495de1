"""Small restoration problems for the tests."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.restoration.kernels import bicubic, camera_shake, identity
from tasks.restoration.operators import Problem, degrade


def smooth_images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Blurred noise, scaled to [0, 1]; float64."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 1, height, width, dtype=torch.float64, generator=generator)
    soft = degrade(noise, [camera_shake(1, 7).double()] * count, torch.zeros_like(noise)).y
    low, high = soft.amin((1, 2, 3), keepdim=True), soft.amax((1, 2, 3), keepdim=True)
    return (soft - low) / (high - low)


def make(
    kind: str = "deblur", count: int = 2, size: tuple[int, int] = (16, 20), sigma: float = 0.02, seed: int = 0
) -> tuple[Problem, Tensor]:
    """(problem, truth) in float64; each image of a deblurring problem has a kernel of its own."""
    truth = smooth_images(count, *size, seed=seed)
    factor = 4 if kind == "sr4" else 1
    kernels = {
        "deblur": [camera_shake(seed + i, 7) for i in range(count)],
        "denoise": [identity()] * count,
        "sr4": [bicubic(4)] * count,
    }[kind]
    generator = torch.Generator().manual_seed(seed + 1)
    shape = truth[..., ::factor, ::factor].shape
    noise = sigma * torch.randn(shape, dtype=torch.float64, generator=generator)
    return degrade(truth, [kernel.double() for kernel in kernels], noise, factor), truth
