"""FPI_NN's split first layer, FPI_GD's closed forms, hoisting, initial states."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import fpi
from fpi.layers import SplitInput
from tests.fpi.problems import SmoothEnergy, make_gd, make_nn


def test_split_linear_equals_the_concatenation(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(layer.g(x, layer.g.inject(z)), layer.g.net(torch.cat([x, z], 1)))


def test_split_convolution_equals_the_concatenation() -> None:
    net = nn.Sequential(
        nn.Conv2d(2 + 1, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)
    )
    g = SplitInput(net)
    z, x = torch.randn(2, 1, 6, 5), torch.randn(2, 2, 6, 5)
    torch.testing.assert_close(g(x, g.inject(z)), net(torch.cat([x, z], 1)))
    assert fpi.FPI_NN(net).initial_state(z).shape == (2, 2, 6, 5)


def test_z_is_injected_once_per_solve(z: Tensor) -> None:
    layer = make_nn()
    calls = []
    inject = layer.g.inject
    layer.g.inject = lambda z: (calls.append(1), inject(z))[1]
    layer(z)
    assert len(calls) == 1 and layer.info.evaluations > 3


def test_state_dict_keeps_the_networks_names() -> None:
    assert set(make_nn().state_dict()) == {f"g.net.{i}.{name}" for i in (0, 2) for name in ("weight", "bias")}


class ClosedForm(SmoothEnergy):
    """The same energy, with inject, gradient and value_and_gradient."""

    def inject(self, z: Tensor) -> Tensor:
        return nn.functional.linear(z, self.linear.weight[:, -z.shape[1] :], self.linear.bias)

    def forward(self, x: Tensor, injected: Tensor) -> Tensor:
        hidden = nn.functional.softplus(x @ self.linear.weight[:, : x.shape[1]].T + injected)
        return 0.5 * x.square().sum(1) + 0.3 * hidden.square().sum(1)

    def gradient(self, x: Tensor, injected: Tensor) -> Tensor:
        w = self.linear.weight[:, : x.shape[1]]
        u = x @ w.T + injected
        return x + (0.6 * nn.functional.softplus(u) * torch.sigmoid(u)) @ w


def test_closed_form_gradient_gives_the_same_layer(z: Tensor) -> None:
    torch.manual_seed(0)
    plain = make_gd()
    closed = fpi.FPI_GD(
        ClosedForm(4, 3).double(), step_size=0.4, state_shape=(4,), solver=plain.solver, adjoint=plain.adjoint
    )
    closed.load_state_dict(plain.state_dict())
    x, y = plain(z), closed(z)
    torch.testing.assert_close(x, y)
    for a, b in zip(
        torch.autograd.grad(x.sum(), [z, *plain.parameters()]),
        torch.autograd.grad(y.sum(), [z, *closed.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(lambda z, *_: closed(z), (z, *closed.parameters()), fast_mode=True)


def test_fpi_gd_ends_at_a_critical_point(z: Tensor) -> None:
    layer = make_gd()
    x = layer(z).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(layer.g.energy(x, z).sum(), x)
    assert gradient.abs().max() < 1e-12


def test_x0_does_not_matter_for_a_contraction(make_layer, z: Tensor) -> None:
    layer = make_layer()
    torch.testing.assert_close(layer(z, torch.randn(5, 4, dtype=torch.float64)), layer(z))


def test_energy_of_wrong_shape_is_named() -> None:
    class Summed(nn.Module):
        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return x.square().sum()

    with pytest.raises(ValueError, match="one value per sample"):
        fpi.FPI_GD(Summed(), step_size=0.1)(torch.randn(3, 2))


def test_step_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="step_size"):
        fpi.FPI_GD(SmoothEnergy(2, 2), step_size=0.0)


class Residual(nn.Module):
    """A network that is no `nn.Sequential`."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, joined: Tensor) -> Tensor:
        return 0.3 * torch.tanh(self.linear(joined)) + 0.1 * joined[:, :3]


@pytest.mark.parametrize(
    "net",
    [Residual(), nn.Sequential(nn.Tanh(), nn.Linear(6, 3), nn.Tanh()), nn.Linear(6, 3), nn.Sequential(Residual())],
    ids=["module", "activation first", "one layer", "nested"],
)
def test_any_network_of_x_and_z(net: nn.Module) -> None:
    net = copy.deepcopy(net).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.3)
    layer = fpi.FPI_NN(net)
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    x = layer(z)
    torch.testing.assert_close(x, net(torch.cat([x, z], 1)))
    assert torch.autograd.gradcheck(lambda z, *_: layer(z), (z, *net.parameters()), fast_mode=True)


def test_a_function_is_no_network() -> None:
    with pytest.raises(TypeError, match="needs an nn.Module.*got 'tanh'"):
        fpi.FPI_NN(torch.tanh)


def test_an_energy_without_x_is_named() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return z.square().sum(1)

    for z in (torch.randn(3, 2), torch.randn(3, 2, requires_grad=True)):
        with pytest.raises(ValueError, match="does not depend on its first argument"):
            fpi.FPI_GD(Constant(), step_size=0.1)(z)


def test_z_too_wide_is_named() -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        fpi.FPI_NN(nn.Sequential(nn.Linear(4, 4)))(torch.randn(2, 4))
