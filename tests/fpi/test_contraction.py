"""Measures of contraction against linear algebra, and the projection that enforces it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fpi
from tests.fpi.problems import make_nn


def test_spectral_radius_of_a_linear_map() -> None:
    torch.manual_seed(0)
    a = torch.randn(6, 6, dtype=torch.float64)
    exact = torch.linalg.eigvals(a).abs().max()
    got = fpi.contraction.spectral_radius(lambda x: x @ a.T, torch.randn(3, 6, dtype=torch.float64), iterations=400)
    torch.testing.assert_close(got, exact.expand(3), rtol=0.02, atol=0)


def test_lipschitz_bound_bounds_the_jacobian(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    bound = fpi.contraction.lipschitz_bound(layer, 4)
    x = torch.randn(5, 4, dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x, h: layer.g(x[None], h[None])[0]))(x, layer.g.inject(z))
    norms = torch.linalg.matrix_norm(jacobian, 2)
    assert (norms <= bound).all() and norms.max() > 0.1 * bound


def test_projection_reaches_the_bound_and_leaves_z_alone(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    fpi.contraction.scale_parameters_(layer, 3.0)
    injected = layer.g.inject(z).detach()
    before = fpi.contraction.limit_lipschitz_(layer, 4, bound=0.9)
    assert before > 0.9
    assert fpi.contraction.lipschitz_bound(layer, 4) == pytest.approx(0.9)
    torch.testing.assert_close(layer.g.inject(z), injected)
    weights = layer.g.net[0].weight.clone()
    fpi.contraction.limit_lipschitz_(layer, 4, bound=0.95)
    assert torch.equal(weights, layer.g.net[0].weight)


def test_unknown_layer_is_named() -> None:
    layer = fpi.FPI_NN(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.Linear(3, 2)))
    with pytest.raises(TypeError, match="Softmax"):
        fpi.contraction.lipschitz_bound(layer, 2)
