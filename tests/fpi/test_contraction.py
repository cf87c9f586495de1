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


def conv_net(*tail: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), *tail))


def test_lipschitz_bound_of_a_convolutional_network() -> None:
    torch.manual_seed(0)
    layer = fpi.FPI_NN(conv_net(nn.Sigmoid()).double(), state_shape=(2, 6, 6))
    z = torch.randn(3, 1, 6, 6, dtype=torch.float64)
    bound = fpi.contraction.lipschitz_bound(layer)
    assert bound == fpi.contraction.lipschitz_bound(layer, 2)
    x = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    norms = fpi.contraction.jacobian_norm(layer.g, x, layer.g.inject(z))
    assert (norms <= bound).all() and norms.max() > 0.1 * bound
    assert fpi.contraction.lipschitz_bound(layer.g.net) > bound  # z counts as a state there
    before = fpi.contraction.limit_lipschitz_(layer, None, bound=0.5 * bound)
    assert before == bound and fpi.contraction.lipschitz_bound(layer) == pytest.approx(0.5 * bound)


@pytest.mark.parametrize(
    ("module", "slope"),
    [
        (nn.Sigmoid(), 0.25),
        (nn.SiLU(), None),
        (nn.GELU(), None),
        (nn.GELU("tanh"), None),
        (nn.SELU(), None),
        (nn.ELU(2.0), 2.0),
        (nn.LeakyReLU(3.0), 3.0),
        (nn.Dropout(0.75), 4.0),
        (nn.Dropout(0.75).eval(), 1.0),
    ],
)
def test_slopes_are_the_functions_own(module: nn.Module, slope: float | None) -> None:
    x = torch.linspace(-8, 8, 160_001, dtype=torch.float64, requires_grad=True)
    (steep,) = torch.autograd.grad(module(x).sum(), x)
    bound = fpi.contraction.lipschitz_bound(nn.Sequential(*unit_layer(), module))
    assert steep.abs().max() <= bound <= steep.abs().max() * 1.001
    assert slope is None or bound == pytest.approx(slope)


def unit_layer() -> nn.Sequential:
    linear = nn.Linear(1, 1)
    nn.init.ones_(linear.weight)
    return nn.Sequential(linear)


def test_jacobian_norm_of_a_linear_map() -> None:
    torch.manual_seed(0)
    a = torch.randn(6, 6, dtype=torch.float64)
    got = fpi.contraction.jacobian_norm(lambda x: x @ a.T, torch.randn(3, 6, dtype=torch.float64), iterations=200)
    torch.testing.assert_close(got, torch.linalg.matrix_norm(a, 2).expand(3))


@pytest.mark.parametrize("module", [nn.GroupNorm(1, 2), nn.BatchNorm2d(2), nn.PReLU(), nn.MaxPool2d(2)])
def test_a_layer_without_a_known_constant_is_named(module: nn.Module) -> None:
    with pytest.raises(TypeError, match=type(module).__name__):
        fpi.contraction.lipschitz_bound(conv_net(module))
    with pytest.raises(TypeError, match="begin"):
        fpi.contraction.lipschitz_bound(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))


@pytest.mark.parametrize("width", [0, 8])
def test_impossible_state_widths(width: int) -> None:
    with pytest.raises(ValueError, match="1..7"):
        fpi.contraction.lipschitz_bound(make_nn(), width)
