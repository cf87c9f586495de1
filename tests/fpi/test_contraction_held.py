"""Weights of a spectral budget held for a solve or a block: computed and differentiated once, never stale."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fpi
from fpi import contraction
from tests.fpi.budgets import both, dense_layer, grown
from tests.fpi.problems import picard


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
