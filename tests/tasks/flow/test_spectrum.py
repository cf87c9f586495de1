"""The spectral coordinates: the cosine transform, the metric they stand for, and derivatives through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct
from torch import Tensor, nn

from tasks.flow.energy import HornSchunck
from tasks.flow.spectrum import Spectral, cosines

SIZE = (5, 6)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def spectral(curvature: float = 2.0) -> Spectral:
    energy = HornSchunck(nn.Conv2d(3, 2, 1), smoothness=3.0, scale=0.1, image_range=1.0, warping="spline")
    return Spectral(energy.double(), curvature).double()


def test_cosines_are_scipys_transform() -> None:
    x = torch.randn(7).double()
    np.testing.assert_allclose((cosines(7, x) @ x).numpy(), dct(x.numpy(), norm="ortho"), atol=1e-12)


def test_coordinates_and_flow_are_inverse() -> None:
    flow, s = torch.randn(2, 2, *SIZE).double(), spectral()
    torch.testing.assert_close(s.flow(s.coordinates(flow)), flow)


def test_smoothness_is_round() -> None:
    """Without a data term of its own, s λ ‖∇u‖² + s d ‖u‖² is ‖w‖² / 2."""
    s, flow = spectral(), torch.randn(1, 2, *SIZE).double()
    injected = tuple(torch.zeros_like(j) for j in s.inject((torch.rand(1, 3, *SIZE).double(),) * 2))
    expected = s.energy(flow, injected) + 0.1 * 2.0 * flow.square().sum()
    torch.testing.assert_close(s.coordinates(flow).square().sum()[None] / 2, expected)


def test_the_gradient_is_that_of_autograd() -> None:
    s = spectral()
    injected = s.inject(tuple(torch.rand(2, 2, 3, *SIZE).double()))  # type: ignore[arg-type]
    w = torch.randn(2, 2, *SIZE).double().requires_grad_()
    value = s(w, injected)
    (expected,) = torch.autograd.grad(value.sum(), w)
    torch.testing.assert_close(s.value_and_gradient(w, injected), (value, expected))
    torch.testing.assert_close(s.gradient(w, injected), expected)


def test_a_step_is_a_preconditioned_step() -> None:
    """w − ∂E/∂w is u − (2 s (λ ∇ᵀ∇ + d))⁻¹ ∂E/∂u."""
    s, flow = spectral(), torch.randn(1, 2, *SIZE).double()
    injected = s.inject(tuple(torch.rand(2, 1, 3, *SIZE).double()))  # type: ignore[arg-type]
    w = s.coordinates(flow)
    moved = s.flow(w - s.gradient(w, injected)) - flow

    def roughness(x: Tensor) -> Tensor:
        return x.diff(dim=3).square().sum() + x.diff(dim=2).square().sum()

    matrix = torch.autograd.functional.hessian(lambda x: 0.1 * (3.0 * roughness(x) + 2.0 * x.square().sum()), flow)
    metric = matrix.reshape(flow.numel(), -1)  # type: ignore[union-attr]
    expected = -torch.linalg.solve(metric, s.energy.gradient(flow, injected).reshape(-1))
    torch.testing.assert_close(moved.reshape(-1), expected)


def test_curvature_is_positive() -> None:
    with pytest.raises(ValueError, match="curvature must be > 0, got 0"):
        spectral(0)
