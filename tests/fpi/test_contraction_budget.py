"""The spectral budget: a contraction at every parameter value, with exact gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpi
from fpi import contraction
from tests.fpi.budgets import both, dense_layer, grown


@both
@pytest.mark.parametrize("scale", [1e-3, 1.0, 4.0, 1e3])
def test_the_layer_contracts_at_every_parameter_value(make: Callable[[], fpi.FPI_NN], scale: float) -> None:
    layer, z = grown(make, scale)
    injected = layer.g.inject(z)
    shape = layer.initial_state(z).shape
    norms = [contraction.jacobian_norm(layer.g, torch.randn(shape).double(), injected) for _ in range(5)]
    assert torch.stack(norms).max() <= 0.8
    assert contraction.lipschitz_bound(layer) <= 0.8 * (1 + 1e-9)
    layer(z)
    assert layer.info.converged.all()


@both
def test_a_network_within_its_budget_is_left_as_it_is(make: Callable[[], fpi.FPI_NN]) -> None:
    layer, _ = grown(make, 0.1)
    first = layer.g.net[0]
    assert torch.equal(first.weight, first.parametrizations.weight.original)


@both
def test_the_budget_is_used_up_and_z_is_untouched(make: Callable[[], fpi.FPI_NN]) -> None:
    layer, _ = grown(make, 10.0)
    first = layer.g.net[0]
    width = first.parametrizations.weight[0].state_features
    original = first.parametrizations.weight.original
    assert torch.equal(first.weight[:, width:], original[:, width:])
    ratio = first.weight[:, :width] / original[:, :width]
    torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio))
    assert contraction.lipschitz_bound(layer) > 0.8 / 1.3


@both
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_first_and_second_derivatives_are_exact(make: Callable[[], fpi.FPI_NN], scale: float) -> None:
    layer, z = grown(make, scale)
    z = z[:1].requires_grad_()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    given = tuple(p.detach().clone().requires_grad_() for p in parameters)

    def solve(z: Tensor, *values: Tensor) -> Tensor:
        with contraction.hold():
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (z,)).sum(0)

    assert torch.autograd.gradcheck(solve, (z, *given), atol=1e-5)
    assert torch.autograd.gradgradcheck(solve, (z, *given), atol=1e-4, gen_non_contig_grad_outputs=False)


@both
def test_training_stays_in_the_budget(make: Callable[[], fpi.FPI_NN]) -> None:
    layer, z = grown(make, 1.0)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.3)
    losses = []
    for _ in range(25):
        with contraction.hold():
            x = layer(z)
        loss = (x - 3).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        assert contraction.lipschitz_bound(layer) <= 0.8 * (1 + 1e-9)
        assert layer.info.converged.all() and layer.info.backward.converged.all()
    assert losses[-1] < losses[0]


@both
def test_copies_and_state_dicts(make: Callable[[], fpi.FPI_NN], tmp_path: Path) -> None:
    layer, z = grown(make, 3.0)
    torch.save(layer.state_dict(), tmp_path / "weights.pt")
    loaded = make()
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    copied = copy.deepcopy(layer)
    expected = layer(z)
    contraction.scale_parameters_(layer, 0.0)  # a copy shares nothing, not even the norms of the other layers
    torch.testing.assert_close(loaded(z), expected)
    torch.testing.assert_close(copied(z), expected)
    names = [name for name, _ in layer.named_parameters()]
    assert sorted(names) == sorted(set(layer.state_dict())) and len(names) == 4


def test_the_budget_can_be_baked_in(z: Tensor) -> None:
    layer = dense_layer()
    contraction.scale_parameters_(layer, 3.0)
    expected = layer(z)
    nn.utils.parametrize.remove_parametrizations(layer.g.net[0], "weight")
    torch.testing.assert_close(layer(z), expected)
    assert "g.net.0.weight" in layer.state_dict()


def test_zero_weights_have_finite_gradients(z: Tensor) -> None:
    layer = dense_layer()
    contraction.scale_parameters_(layer, 0.0)
    layer(z).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_a_single_layer_in_a_module_of_ones_own() -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.input = nn.Linear(6, 6), nn.Linear(3, 6)

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return torch.tanh(self.recurrent(x) + self.input(z))

    torch.manual_seed(0)
    cell = Cell()
    nn.init.orthogonal_(cell.recurrent.weight, gain=5)
    contraction.spectral_budget_(cell.recurrent, 0.9)
    norm = torch.linalg.matrix_norm(cell.recurrent.weight, 2)
    assert 0.9 / 1.1 <= norm <= 0.9 * (1 + 1e-6)
    x = fpi.FPILayer(cell, state_shape=(6,))(torch.randn(4, 3))
    x.sum().backward()
    assert cell.recurrent.parametrizations.weight.original.grad.abs().max() > 0


def test_bad_input_is_named() -> None:
    layer = dense_layer()
    with pytest.raises(ValueError, match="already"):
        contraction.spectral_budget_(layer, 0.9)
    with pytest.raises(ValueError, match="exclude each other"):
        contraction.limit_lipschitz_(layer, 4, 0.5)
    with pytest.raises(ValueError, match="factor"):
        contraction.spectral_budget_(nn.Linear(2, 2), 0.0)
    with pytest.raises(ValueError, match="state_features"):
        contraction.spectral_budget_(nn.Linear(2, 2), 0.9, state_features=3)
    with pytest.raises(TypeError, match="GroupNorm"):
        contraction.spectral_budget_(nn.Sequential(nn.Conv2d(2, 2, 1), nn.GroupNorm(1, 2)), 0.9)
    with pytest.raises(ValueError, match="replicate"):
        contraction.spectral_budget_(nn.Conv2d(2, 2, 3, padding=1, padding_mode="replicate"), 0.9)
