"""Copies, pickles and checkpoints of a layer, before and after a solve."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import EXACT, SOLVERS, make_nn, picard


def use(layer: fpi.FPILayer, z: Tensor, how: str) -> None:
    """Leaves diagnostics of every kind behind."""
    if how == "solved":
        layer(z)
    elif how == "first order":
        layer(z).sum().backward()
    elif how == "second order":
        (first,) = torch.autograd.grad(layer(z).square().sum(), z, create_graph=True)
        first.sum().backward()
    elif how == "transformed":
        torch.func.jacrev(torch.func.jacrev(layer))(z.detach()[:1])
        torch.func.jvp(layer, (z.detach(),), (z.detach(),))
    elif how == "vmapped":
        torch.func.vmap(lambda zi: layer(zi[None])[0])(z.detach())
    elif how == "unrolled":
        layer.adjoint = fpi.Unrolled()
        layer(z)


@pytest.mark.parametrize("how", ["new", "solved", "first order", "second order", "transformed", "vmapped", "unrolled"])
def test_copies_and_pickles(make_layer, how: str, z: Tensor) -> None:
    layer = make_layer(2, 3, 3, solver=picard(trace=True))
    use(layer, z, how)
    expected = layer(z).detach()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert str(twin.info) == str(layer.info) and twin.solver == layer.solver and twin.adjoint == layer.adjoint
        assert torch.equal(twin(z), expected)
        with torch.no_grad():
            for p in twin.parameters():
                p.mul_(0.5)
        assert not torch.allclose(twin(z), expected)
    assert torch.equal(layer(z), expected)


@pytest.mark.parametrize("how", ["new", "first order"])
def test_checkpoints_hold_parameters_only(make_layer, how: str, z: Tensor) -> None:
    layer = make_layer(2, 3, 3)
    use(layer, z, how)
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = make_layer(2, 3, 3)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(z), layer(z))


@pytest.mark.parametrize("options", [*SOLVERS.values(), *EXACT.values()], ids=[*SOLVERS, *EXACT])
def test_options_are_values(options: object) -> None:
    """Equal after a copy, hashable, immutable: they can be shared between layers and put into configurations."""
    assert pickle.loads(pickle.dumps(options)) == options == copy.deepcopy(options)
    assert hash(options) == hash(copy.deepcopy(options))
    with pytest.raises(AttributeError):
        options.max_iter = 3  # type: ignore[attr-defined]


def test_diagnostics_keep_no_graph_alive(z: Tensor) -> None:
    torch.manual_seed(0)
    for adjoint in (fpi.BackwardFPI(), fpi.NormalCG(), fpi.Unrolled()):
        layer = make_nn(solver=picard(trace=True), adjoint=adjoint)
        (first,) = torch.autograd.grad(layer(z).square().sum(), z, create_graph=True)
        first.sum().backward()
        info = layer.info
        tensors = [info.iterations, info.residual, info.converged, info.rate, *info.trace]
        if info.backward is not None:
            tensors += [info.backward.residual, info.backward.rate]
        assert not any(t.requires_grad for t in tensors)
