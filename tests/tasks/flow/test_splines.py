"""Spline samples against SciPy's B-splines, their slopes and the border."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from tasks.flow.operators import pixel_grid
from tasks.flow.splines import patches, smooth, windows


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def sample(image: Tensor, flow: Tensor) -> Tensor:
    """The spline of `image` at the flow's places, (batch, C, height, width)."""
    batch, channels, height, width = image.shape
    at, rows = patches(flow), windows(image).reshape(-1, 4 * channels)
    around = rows[at.rows].reshape(-1, 16, channels)
    sampled = (at.weights[:, :, None] * around).sum(1)
    return sampled.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(5, 7), (2, 3), (1, 4)])
@pytest.mark.parametrize("reach", [0.7, 30.0])
def test_samples_are_those_of_scipy(size: tuple[int, int], reach: float) -> None:
    image, flow = torch.randn(2, 3, *size).double(), reach * torch.randn(2, 2, *size).double()
    places = (pixel_grid(flow) + flow).flip(1).numpy()
    for b in range(2):
        for c in range(3):
            expected = ndimage.map_coordinates(
                np.pad(image[b, c].numpy(), 200, mode="edge"), places[b] + 200, order=3, prefilter=False
            )
            np.testing.assert_allclose(sample(image, flow)[b, c].numpy(), expected, atol=1e-12)


def test_no_flow_samples_the_smoothed_image() -> None:
    image = torch.randn(2, 3, 5, 7).double()
    torch.testing.assert_close(sample(image, torch.zeros(2, 2, 5, 7).double()), smooth(image))


def test_slopes_are_the_derivative() -> None:
    image, flow = torch.randn(1, 1, 5, 7).double(), (3 * torch.randn(1, 2, 5, 7).double()).requires_grad_()
    (expected,) = torch.autograd.grad(sample(image, flow).sum(), flow)
    at = patches(flow)
    found = at.slopes(windows(image).reshape(-1, 4)[at.rows].reshape(-1, 16))
    torch.testing.assert_close(found.reshape(1, 5, 7, 2).permute(0, 3, 1, 2), expected)


def test_first_and_second_derivatives_do_not_jump() -> None:
    """Across whole pixels, inside the image, at its border and where the samples leave the continued image."""
    image = torch.randn(1, 1, 4, 6).double()
    for place in (-2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 6.0, 7.0):
        found = []
        for side in (-1e-7, 1e-7):
            flow = torch.full((1, 2, 4, 6), side).double()
            flow[:, 0] += place - pixel_grid(flow)[0, 0]
            flow.requires_grad_()
            (first,) = torch.autograd.grad(sample(image, flow).sum(), flow, create_graph=True)
            (second,) = torch.autograd.grad(first[:, 0].sum(), flow)
            found.append(torch.cat([first.detach(), second]))
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
