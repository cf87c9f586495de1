"""The spectral budget: a contraction at every parameter value, with exact gradients."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fpi
from fpi import contraction
from tests.fpi.problems import picard


def dense_layer(factor: float = 0.8, **options: object) -> fpi.FPI_NN:
    net = nn.Sequential(nn.Linear(4 + 3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Softplus()).double()
    layer = fpi.FPI_NN(net, **({"solver": picard(), "adjoint": fpi.BackwardFPI(picard())} | options))
    contraction.spectral_budget_(layer, factor)
    return layer


def conv_layer(factor: float = 0.8, **options: object) -> fpi.FPI_NN:
    net = nn.Sequential(nn.Conv2d(2 + 1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3, padding=1)).double()
    solvers = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard())}
    layer = fpi.FPI_NN(net, state_shape=(2, 3, 3), **(solvers | options))
    contraction.spectral_budget_(layer, factor, slack=1.3)
    return layer


Z = {dense_layer: (2, 3), conv_layer: (2, 1, 3, 3)}
both = pytest.mark.parametrize("make", [dense_layer, conv_layer], ids=["Linear", "Conv2d"])


def grown(make: Callable[[], fpi.FPI_NN], scale: float) -> tuple[fpi.FPI_NN, Tensor]:
    torch.manual_seed(0)
    layer = make()
    contraction.scale_parameters_(layer, scale)
    return layer, torch.randn(Z[make], dtype=torch.float64)


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
def test_holding_changes_neither_values_nor_gradients(make: Callable[[], fpi.FPI_NN]) -> None:
    layer, z = grown(make, 3.0)
    seen = []
    for held in (False, True):
        layer.zero_grad()
        if held:
            with contraction.hold():
                x = layer(z)
                (gradient,) = torch.autograd.grad(x.square().sum(), layer.g.net[0].bias, create_graph=True)
                gradient.square().sum().backward()
        else:
            x = layer(z)
            (gradient,) = torch.autograd.grad(x.square().sum(), layer.g.net[0].bias, create_graph=True)
            gradient.square().sum().backward()
        seen.append([x.detach(), gradient.detach(), *(p.grad for p in layer.parameters())])
    for plain, kept in zip(*seen, strict=True):
        torch.testing.assert_close(kept, plain, rtol=1e-9, atol=1e-12)


def test_unrolled_gradients_agree(z: Tensor) -> None:
    torch.manual_seed(0)
    implicit = dense_layer()
    contraction.scale_parameters_(implicit, 3.0)
    unrolled = copy.deepcopy(implicit)
    unrolled.adjoint = fpi.Unrolled()
    for layer in (implicit, unrolled):
        with contraction.hold():
            layer(z.detach()).square().sum().backward()
    for ours, theirs in zip(implicit.parameters(), unrolled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def count_limits(layer: fpi.FPI_NN, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one whenever the norms are computed."""
    calls: list[int] = []
    budget = layer.g.net[0].parametrizations.weight[0]
    limit = budget._limit
    monkeypatch.setattr(budget, "_limit", lambda weight: (calls.append(1), limit(weight))[1])
    return calls


def test_norms_are_computed_once_a_solve(z: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = dense_layer()
    calls = count_limits(layer, monkeypatch)
    layer(z.detach())
    assert layer.info.evaluations > 3 and len(calls) == 1
    layer(z.detach())  # parameters may have changed in place
    assert len(calls) == 2
    with contraction.hold():
        layer(z.detach())
        layer(z.detach())
    assert len(calls) == 3


def count_backwards(layer: fpi.FPI_NN) -> list[int]:
    """A list that grows by one whenever a gradient reaches the unconstrained weight's limited version."""
    passed: list[int] = []
    budget = layer.g.net[0].parametrizations.weight[0]
    limit = budget._limit

    def hooked(weight: Tensor) -> Tensor:
        limited = limit(weight)
        if limited.requires_grad:
            limited.register_hook(lambda gradient: passed.append(1))
        return limited

    budget._limit = hooked
    return passed


@pytest.mark.parametrize(
    "adjoint", [fpi.BackwardFPI(picard()), fpi.JacobianFree(), fpi.NormalCG(), fpi.Neumann(3)], ids=repr
)
def test_a_training_step_computes_and_differentiates_the_norms_once(
    z: Tensor, monkeypatch: pytest.MonkeyPatch, adjoint: fpi.Adjoint
) -> None:
    layer = dense_layer(adjoint=adjoint)
    contraction.scale_parameters_(layer, 3.0)
    passed, calls = count_backwards(layer), count_limits(layer, monkeypatch)
    layer(z.detach()).square().sum().backward()
    assert len(calls) == 1 and len(passed) == 1
    assert all(p.grad.abs().max() > 0 for p in layer.parameters())


def test_a_budget_that_depends_on_tensors_not_in_g_keeps_exact_gradients(z: Tensor) -> None:
    """The second weight is itself parametrised: a new tensor at every reading, of which the node knows nothing."""
    torch.manual_seed(0)
    implicit = dense_layer()
    nn.utils.parametrizations.weight_norm(implicit.g.net[2])
    with torch.no_grad():
        implicit.g.net[0].parametrizations.weight.original.mul_(4)
    unrolled = copy.deepcopy(implicit)
    unrolled.adjoint = fpi.Unrolled()
    for layer in (implicit, unrolled):
        layer(z.detach()).square().sum().backward()
    for ours, theirs in zip(implicit.parameters(), unrolled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_parameters_changed_between_the_passes_are_refused(z: Tensor) -> None:
    layer = dense_layer()
    x = layer(z.detach())
    contraction.scale_parameters_(layer, 0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x.sum().backward()


def test_a_layer_within_a_layer_shares_the_budget(z: Tensor) -> None:
    """g solves a fixed point of its own with a limited weight: its gradients are those of the unrolled iterations."""

    class Outer(nn.Module):
        def __init__(self, inner: fpi.FPI_NN) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return 0.3 * torch.tanh(x + self.inner(z))

    torch.manual_seed(0)
    inner = dense_layer()
    contraction.scale_parameters_(inner, 3.0)
    other = copy.deepcopy(inner)
    other.adjoint = fpi.Unrolled()
    options = {"state_shape": (4,), "solver": picard()}
    implicit = fpi.FPILayer(Outer(inner), adjoint=fpi.BackwardFPI(picard()), **options)
    unrolled = fpi.FPILayer(Outer(other), adjoint=fpi.Unrolled(), **options)
    for layer in (implicit, unrolled):
        layer(z.detach()).square().sum().backward()
    for ours, theirs in zip(implicit.parameters(), unrolled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-12)


def test_another_threads_block_does_not_keep_stale_weights() -> None:
    layer = dense_layer()
    first = layer.g.net[0]
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with contraction.hold():
            _ = first.weight
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with contraction.hold():
        before = first.weight.detach().clone()
    contraction.scale_parameters_(layer, 0.1)
    with contraction.hold():
        assert not torch.allclose(first.weight, before)
    leave.set()
    thread.join()


def test_substituted_parameters_are_noticed_inside_a_block(z: Tensor) -> None:
    layer = dense_layer()
    smaller = {name: 0.3 * p.detach() for name, p in layer.named_parameters()}
    expected = torch.func.functional_call(layer, smaller, (z,))
    with contraction.hold():
        layer(z)
        torch.testing.assert_close(torch.func.functional_call(layer, smaller, (z,)), expected)


def test_per_sample_gradients(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = dense_layer()
    contraction.scale_parameters_(layer, 3.0)
    parameters = dict(layer.named_parameters())

    def loss(parameters: dict[str, Tensor], z: Tensor) -> Tensor:
        with contraction.hold():
            return torch.func.functional_call(layer, parameters, (z[None],)).square().sum()

    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, z.detach())
    layer(z.detach()).square().sum().backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(per_sample[name].sum(0), parameter.grad)


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
