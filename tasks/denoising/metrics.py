"""Image quality per image: PSNR in dB and SSIM, of images on [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """10 log10(1 / MSE) in dB per image, shape (batch,)."""
    return -10 * torch.log10((image - truth).double().square().flatten(1).mean(1))


def ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity per image, shape (batch,), with the weights of Wang et al. 2004 (Gaussian, σ = 1.5)."""
    found = structural_similarity_index_measure(
        image, truth, sigma=1.5, kernel_size=11, data_range=1.0, reduction="none"
    )
    assert isinstance(found, Tensor)
    return found.reshape(-1).double()


def rounded(image: Tensor) -> Tensor:
    """The image as an 8-bit file keeps it: clipped to [0, 1] and rounded to 256 grey levels."""
    return (image.clamp(0, 1) * 255).round() / 255
