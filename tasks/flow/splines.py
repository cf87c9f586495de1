"""Sampling an image by cubic B-splines: twice continuously differentiable in the flow, unlike bilinear warping."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.flow.operators import pixel_grid

MARGIN = 3  # pixels by which the image is continued: one more, and a sample sees the border pixel alone
BLUR = (1 / 6, 4 / 6, 1 / 6)  # the spline at whole pixels


class Patches(NamedTuple):
    """Where spline samples lie: the 4 × 4 pixels around each, and their weights along both axes.

    Attributes:
        rows: (batch · height · width, 4) indices of rows of `windows(...)`, flattened over the batch: the four pixel
            rows that a sample sees.
        across, down: (batch · height · width, 4) weights of columns and rows; differentiable in the flow.
        across_slope, down_slope: their derivatives.
    """

    rows: Tensor
    across: Tensor
    down: Tensor
    across_slope: Tensor
    down_slope: Tensor

    @property
    def weights(self) -> Tensor:
        """(batch · height · width, 16): the weights of the pixels, row by row."""
        return (self.down[:, :, None] * self.across[:, None]).flatten(1)

    def slopes(self, values: Tensor) -> Tensor:
        """∂/∂u and ∂/∂v of the spline of `values` (·, 16), one number at each of the pixels: (·, 2)."""
        table = values.reshape(-1, 4, 4)
        by_u = (self.down * (table * self.across_slope[:, None]).sum(2)).sum(1)
        by_v = (self.down_slope * (table * self.across[:, None]).sum(2)).sum(1)
        return torch.stack([by_u, by_v], dim=1)


def patches(flow: Tensor) -> Patches:
    """The samples of a spline at x + u, y + v, for flow (batch, 2, height, width) in pixels; of every size."""
    batch, _, height, width = flow.shape
    at = pixel_grid(flow) + flow
    # beyond these the spline of the continued image is constant
    column, across, across_slope = _taps(at[:, 0].clamp(1 - MARGIN, width + MARGIN - 2), width)
    row, down, down_slope = _taps(at[:, 1].clamp(1 - MARGIN, height + MARGIN - 2), height)
    across_count, down_count = width + 2 * MARGIN - 3, height + 2 * MARGIN
    image = torch.arange(batch, device=flow.device).repeat_interleave(height * width) * down_count
    lines = (image + row)[:, None] + torch.arange(4, device=flow.device)
    return Patches(lines * across_count + column[:, None], across, down, across_slope, down_slope)


def windows(image: Tensor) -> Tensor:
    """The image (batch, C, height, width), continued by its border, as runs of four pixels in a row.

    Returns:
        (batch, (height + 2 margins) · (width + 2 margins − 3), 4 C): a run of four neighbours for each first pixel.
    """
    padded = F.pad(image, (MARGIN,) * 4, mode="replicate").permute(0, 2, 3, 1)
    return padded.unfold(2, 4, 1).mT.flatten(3).flatten(1, 2)


def smooth(image: Tensor) -> Tensor:
    """The spline of an image at its own pixels, (batch, C, height, width): what a flow of zero samples."""
    left, middle, right = BLUR
    wide = F.pad(image, (1,) * 4, mode="replicate")
    across = left * wide[..., :-2] + middle * wide[..., 1:-1] + right * wide[..., 2:]
    return left * across[:, :, :-2] + middle * across[:, :, 1:-1] + right * across[:, :, 2:]


def _taps(at: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """First of the four pixels (counted on the continued image), their weights and slopes, for places on one axis."""
    at = at.reshape(-1)
    low = at.detach().floor().clamp_max(size + MARGIN - 3)
    f = at - low
    g = 1 - f
    weights = torch.stack([g**3, 4 - 3 * f**2 * (1 + g), 4 - 3 * g**2 * (1 + f), f**3], dim=1) / 6
    slopes = torch.stack([-(g**2), 3 * f**2 - 4 * f, 4 * g - 3 * g**2, f**2], dim=1) / 2
    return low.long() - 1 + MARGIN, weights, slopes
