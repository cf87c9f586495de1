"""Backward warping with bilinear sampling, and the cost volume: what flow networks and energies are made of.

Flow is (batch, 2, height, width) in pixels, u to the right and v down: `flow[:, :, y, x]` points from pixel (x, y) of
the first frame to (x + u, y + v) of the second.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NARROW = 64  # pixels of width up to which a cost volume is made of matrix products
ON_IMAGE = 0.9999  # bilinear weight on the image above which PWC-Net trusts a warped pixel


def pixel_grid(like: Tensor) -> Tensor:
    """The coordinates (x, y) of every pixel, (1, 2, height, width) in the dtype and on the device of `like`."""
    height, width = like.shape[-2:]
    y = torch.arange(height, dtype=like.dtype, device=like.device)
    x = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])[None]


def warp(image: Tensor, flow: Tensor, padding: Literal["zeros", "border"] = "zeros") -> Tensor:
    """image(x + u, y + v) by bilinear interpolation, (batch, channels, height, width).

    Args:
        image: (batch, channels, height, width).
        flow: (batch, 2, height, width), pixels of `image`.
        padding: the image beyond its border: 0, or the nearest pixel of the border.
    """
    height, width = image.shape[-2:]
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=flow.dtype, device=flow.device)
    here = pixel_grid(flow).permute(0, 2, 3, 1) * (2 / size) - 1
    at = torch.addcmul(here, flow.permute(0, 2, 3, 1), 2 / size).to(image.dtype).contiguous()
    return F.grid_sample(image, at, mode="bilinear", padding_mode=padding, align_corners=True)


def warp_mask(flow: Tensor) -> Tensor:
    """Where all of the bilinear weight lies on the image, up to `ON_IMAGE`: (batch, 1, height, width), boolean."""
    return warp(torch.ones_like(flow[:, :1]), flow) > ON_IMAGE


def cost_volume(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Correlations (1/C) ⟨first(x, y), second(x + dx, y + dy)⟩ for |dx|, |dy| ≤ radius; 0 beyond the border.

    Args:
        first, second: (batch, C, height, width) features.
        radius: largest displacement, pixels.

    Returns:
        (batch, (2 radius + 1)², height, width); the displacement (dx, dy) is channel
        (dy + radius) (2 radius + 1) + dx + radius.
    """
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius,) * 4)
    shifts = range(2 * radius + 1)
    if width <= NARROW:  # all pairs of a row in one matrix product, of which the diagonals are wanted
        pixels = first.permute(0, 2, 3, 1)
        pairs = [pixels @ padded[:, :, y : y + height].permute(0, 2, 1, 3) for y in shifts]
        return torch.stack([rows.diagonal(x, 2, 3) for rows in pairs for x in shifts], dim=1) / first.shape[1]
    # one product at a time stays in the cache: on a CPU several times faster than unfolding the second frame
    costs = [(first * padded[:, :, y : y + height, x : x + width]).mean(1) for y in shifts for x in shifts]
    return torch.stack(costs, dim=1)


class Corners(NamedTuple):
    """Where bilinear samples lie: the pixels around each, and the place between them.

    Attributes:
        rows: (batch · height · width, 4) rows of an image of shape (batch · height · width, channels): the pixels
            (x₀, y₀), (x₀ + 1, y₀), (x₀, y₀ + 1), (x₀ + 1, y₀ + 1).
        fx, fy: (batch · height · width,) the sample's distance from (x₀, y₀), in [0, 1]; differentiable in the flow.
        inside: (batch · height · width, 2) 1 where the sample's x (y) lies on the image, else 0: there the sample is
            the border's and does not change with u (v).
    """

    rows: Tensor
    fx: Tensor
    fy: Tensor
    inside: Tensor

    @property
    def weights(self) -> Tensor:
        """(batch · height · width, 4): the bilinear weights of the four pixels."""
        right, below = self.fx, self.fy
        left, above = 1 - right, 1 - below
        return torch.stack([left * above, right * above, left * below, right * below], dim=1)

    def slopes(self, values: Tensor) -> Tensor:
        """∂/∂u and ∂/∂v of the interpolant of `values` (·, 4), one number at each of the four pixels: (·, 2)."""
        a, b, c, d = values.unbind(1)
        by_u = torch.lerp(b - a, d - c, self.fy)
        by_v = torch.lerp(c - a, d - b, self.fx)
        return torch.stack([by_u, by_v], dim=1) * self.inside


def corners(flow: Tensor) -> Corners:
    """The samples of `warp(..., padding="border")` as explicit pixels and weights.

    `F.grid_sample` has no second derivative; gathering the pixels has derivatives of every order (the samples' slope
    jumps where they cross a pixel, as that of any bilinear interpolant).  Both sides of the image need 2 pixels.
    """
    batch, _, height, width = flow.shape
    if height < 2 or width < 2:
        raise ValueError(f"corners: bilinear sampling needs at least 2 x 2 pixels, got {height} x {width}")
    last = torch.tensor([width - 1, height - 1], dtype=flow.dtype, device=flow.device).reshape(1, 2, 1, 1)
    at = pixel_grid(flow) + flow
    on_image = torch.minimum(at.clamp_min(0), last)
    low = torch.minimum(on_image.detach().floor(), last - 1)
    fraction = on_image - low
    column, row = low.long().unbind(1)
    image = torch.arange(batch, device=flow.device).reshape(-1, 1, 1) * height
    first = ((image + row) * width + column).reshape(-1, 1)
    pixels = first + torch.tensor([0, 1, width, width + 1], device=flow.device)
    inside = ((at > 0) & (at < last)).to(flow.dtype)
    return Corners(
        pixels, fraction[:, 0].reshape(-1), fraction[:, 1].reshape(-1), inside.permute(0, 2, 3, 1).reshape(-1, 2)
    )
