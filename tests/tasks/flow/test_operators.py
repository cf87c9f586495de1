"""Warping and the cost volume against naive loops, and against grid_sample."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.flow.operators import corners, cost_volume, pixel_grid, warp, warp_mask


def naive_sample(image: Tensor, x: float, y: float, border: bool) -> Tensor:
    """image (C, H, W) at one real position."""
    height, width = image.shape[1:]
    if border:
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    total = torch.zeros_like(image[:, 0, 0])
    x0, y0 = int(x // 1), int(y // 1)
    for row in (y0, y0 + 1):
        for column in (x0, x0 + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * image[:, row, column]
    return total


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_warp_is_the_naive_loop(padding: str) -> None:
    torch.manual_seed(0)
    image, flow = torch.randn(2, 3, 5, 7).double(), 3 * torch.randn(2, 2, 5, 7).double()
    warped = warp(image, flow, padding)  # type: ignore[arg-type]
    for b in range(2):
        for y in range(5):
            for x in range(7):
                u, v = flow[b, :, y, x].tolist()
                expected = naive_sample(image[b], x + u, y + v, padding == "border")
                torch.testing.assert_close(warped[b, :, y, x], expected)


def test_a_whole_shift_moves_pixels() -> None:
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = 1  # right
    torch.testing.assert_close(warp(image, flow)[..., :4], image[..., 1:])
    assert (warp(image, flow)[..., 4] == 0).all()


def test_corners_sample_like_grid_sample() -> None:
    torch.manual_seed(0)
    image, flow = torch.randn(2, 3, 5, 7).double(), 3 * torch.randn(2, 2, 5, 7).double()
    at = corners(flow)
    around = image.permute(0, 2, 3, 1).reshape(-1, 3)[at.rows]
    sampled = (at.weights[:, :, None] * around).sum(1).reshape(2, 5, 7, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(sampled, warp(image, flow, "border"))


def test_corners_slopes_are_the_derivative_of_grid_sample() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 1, 6, 8).double()
    flow = (2 * torch.randn(1, 2, 6, 8).double()).requires_grad_()
    size = torch.tensor([7.0, 5.0]).double()
    grid = (pixel_grid(flow) + flow).permute(0, 2, 3, 1) * (2 / size) - 1
    sampled = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    (expected,) = torch.autograd.grad(sampled.sum(), flow)
    at = corners(flow)
    slopes = at.slopes(image.reshape(-1)[at.rows])
    torch.testing.assert_close(slopes.reshape(1, 6, 8, 2).permute(0, 3, 1, 2), expected)


def test_corners_need_two_pixels() -> None:
    with pytest.raises(ValueError, match="at least 2 x 2 pixels, got 1 x 5"):
        corners(torch.zeros(1, 2, 1, 5))


def test_the_mask_ends_at_the_border() -> None:
    flow = torch.zeros(1, 2, 3, 4)
    flow[0, 0] = 0.5
    flow[0, 1, 0, 0] = -0.01
    mask = warp_mask(flow)[0, 0]
    assert mask.tolist() == [[False, True, True, False], [True, True, True, False], [True, True, True, False]]


@pytest.mark.parametrize("narrow", [0, 64])  # both ways of computing it
def test_cost_volume_is_the_naive_loop(narrow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flow.operators.NARROW", narrow)
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    volume = cost_volume(first, second, radius=2)
    assert volume.shape == (2, 25, 5, 6)
    for channel in range(25):
        dy, dx = channel // 5 - 2, channel % 5 - 2
        for y in range(5):
            for x in range(6):
                inside = 0 <= y + dy < 5 and 0 <= x + dx < 6
                other = second[:, :, y + dy, x + dx] if inside else torch.zeros(2, 3)
                torch.testing.assert_close(volume[:, channel, y, x], (first[:, :, y, x] * other).mean(1))


def test_cost_volume_agrees_with_torchvisions_correlation() -> None:
    from torchvision.models.optical_flow.raft import CorrBlock

    torch.manual_seed(0)
    first, second = torch.randn(1, 16, 16, 18), torch.randn(1, 16, 16, 18)
    block = CorrBlock(num_levels=1, radius=4)
    block.build_pyramid(first, second)
    found = block.index_pyramid(pixel_grid(first))  # all pairs, read out around every pixel; scaled by 1/sqrt(C)
    theirs = found.reshape(1, 9, 9, 16, 18).transpose(1, 2).flatten(1, 2) / 16**0.5  # dx before dy
    torch.testing.assert_close(cost_volume(first, second, 4), theirs, rtol=0, atol=1e-5)
