"""Image quality per image: PSNR in dB and SSIM, of images on [0, 1]."""

from __future__ import annotations

import torch
from skimage.metrics import structural_similarity
from torch import Tensor


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """10 log10(1 / MSE) in dB per image, shape (batch,); neither clipped nor rounded."""
    return -10 * torch.log10((image - truth).double().square().flatten(1).mean(1))


def ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity per image, shape (batch,), with the weights of Wang et al. 2004 (Gaussian, σ = 1.5)."""
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(image[:, 0].double().cpu().numpy(), truth[:, 0].double().cpu().numpy(), strict=True)
    return torch.tensor([structural_similarity(a, b, **options) for a, b in pairs], dtype=torch.double)


def rounded(image: Tensor) -> Tensor:
    """The image as an 8-bit file keeps it: clipped to [0, 1] and rounded to 256 grey levels."""
    return (image.clamp(0, 1) * 255).round() / 255
