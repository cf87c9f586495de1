"""Derivatives of orders 1-4 by finite differences, for every kind of argument that a fixed point may have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import fpi
from tests.fpi.problems import DOUBLE, EXACT, make_gd, make_nn, picard

Problem = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def leaf(*shape: int, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(*shape, dtype=DOUBLE)).requires_grad_()


def solve(g: Callable[..., object], x0: object, *args: object) -> object:
    return fpi.fixed_point(g, x0, *args, solver=picard(), adjoint=fpi.BackwardFPI(picard()))


def with_parameters(layer: nn.Module, apply: Callable[..., Tensor] | None = None) -> Problem:
    """The layer as a function of its parameters and z."""
    names = [name for name, _ in layer.named_parameters()]

    def f(z: Tensor, *parameters: Tensor) -> Tensor:
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, values, (z,))

    return f, (leaf(2, 2), *[p.detach().clone().requires_grad_() for p in layer.parameters()])


def network() -> Problem:
    return with_parameters(make_nn(2, 2, 3))


def energy() -> Problem:
    return with_parameters(make_gd(2, 2, 2))


def bare() -> Problem:
    """One tensor twice in g and twice among its arguments; integers, masks, constants, tensors without a gradient."""
    index, mask = torch.tensor([1, 0]), torch.tensor([[True, False], [True, True]])
    frozen = torch.full((2, 2), 0.3, dtype=DOUBLE)

    def g(x: Tensor, w: Tensor, again: Tensor, rest: dict[str, object], power: int) -> Tensor:
        y = torch.tanh(x @ w + x[:, rest["index"]] @ again.T + rest["b"]) ** power
        return torch.where(rest["mask"], y, rest["frozen"] * y) * w.cos().mean()

    def f(w: Tensor, b: Tensor) -> Tensor:
        rest = {"index": index, "mask": mask, "frozen": frozen, "b": b, "name": "unused"}
        return solve(g, torch.zeros_like(b), w, w, rest, 1)

    return f, (leaf(2, 2, scale=0.3), leaf(2, 2))


def tree() -> Problem:
    """A state of two tensors of different shapes, which influence each other."""

    def g(x: dict[str, Tensor], a: Tensor) -> dict[str, Tensor]:
        u, v = x["u"], x["v"]
        return {"u": 0.4 * torch.sin(v).sum((1, 2))[:, None] * a + a, "v": (0.3 * u.cos() * a)[:, None] + 0.1 * v}

    def f(a: Tensor) -> Tensor:
        out = solve(g, {"u": torch.zeros(2, 2, dtype=DOUBLE), "v": torch.zeros(2, 1, 2, dtype=DOUBLE)}, a)
        return torch.cat([out["u"], out["v"][:, 0]], 1)

    return f, (leaf(2, 2, scale=0.5),)


class Twice(nn.Module):
    """One module in two places of g, and its weight in z as well; the layer applied to its own output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2).double()
        fpi.contraction.scale_parameters_(self.linear, 0.6)

        class G(nn.Module):
            def __init__(self, linear: nn.Module) -> None:
                super().__init__()
                self.first = self.second = linear

            def forward(self, x: Tensor, z: Tensor) -> Tensor:
                return torch.tanh(self.first(torch.tanh(self.second(x))) + z)

        self.layer = fpi.FPILayer(G(self.linear), solver=picard(), adjoint=fpi.BackwardFPI(picard()))

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(self.layer(z @ self.linear.weight.sin()) + self.linear.bias)


def twice() -> Problem:
    return with_parameters(Twice())


PROBLEMS = [network, energy, bare, tree, twice]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_orders_one_and_two(problem: Callable[[], Problem]) -> None:
    torch.manual_seed(0)
    f, inputs = problem()
    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs, fast_mode=True)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_orders_three_and_four(problem: Callable[[], Problem]) -> None:
    """The function that is checked is a second derivative through the layer."""
    torch.manual_seed(0)
    f, inputs = problem()
    directions = [torch.randn_like(p) for p in inputs]

    def second(*inputs: Tensor) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(f(*inputs).sin().sum(), inputs, create_graph=True)
        along = sum((g * d).sum() for g, d in zip(first, directions, strict=True))
        return torch.autograd.grad(along, inputs, create_graph=True)

    assert max(g.abs().max() for g in second(*inputs)) > 1e-3
    assert gradcheck(second, inputs, fast_mode=True)
    assert gradgradcheck(second, inputs, fast_mode=True)


@pytest.mark.parametrize("adjoint", EXACT.values(), ids=EXACT)
def test_every_exact_adjoint_to_order_three(adjoint: fpi.Adjoint) -> None:
    torch.manual_seed(0)
    layer = make_nn(2, 2, 3, adjoint=adjoint)
    z = leaf(2, 2)
    assert gradgradcheck(lambda z, *_: layer(z), (z, *layer.parameters()), fast_mode=True)

    def second(z: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(layer(z).sin().sum(), z, create_graph=True)
        return torch.autograd.grad(first.square().sum(), z, create_graph=True)[0]

    assert gradcheck(second, z, fast_mode=True)


def test_leaves_of_a_non_leaf_argument() -> None:
    """Arguments computed from other tensors; the node is differentiated with respect to an intermediate one too."""
    torch.manual_seed(0)
    layer, a = make_nn(2, 2, 3), leaf(2, 2)
    z = a.sin()
    through, direct = torch.autograd.grad(layer(z).square().sum(), [a, z])
    torch.testing.assert_close(through, direct * a.cos())


def test_a_graph_can_be_used_twice() -> None:
    torch.manual_seed(0)
    layer, z = make_gd(2, 2, 2), leaf(2, 2)
    value = layer(z).square().sum()
    once = torch.autograd.grad(value, [z, *layer.parameters()], retain_graph=True)
    again = torch.autograd.grad(value, [z, *layer.parameters()], create_graph=True)
    for a, b in zip(once, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_buffers_that_g_updates_do_not_hinder_second_derivatives() -> None:
    """Batch normalisation in training mode: samples mix, hence the batch's criterion."""

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2).double()

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return torch.tanh(0.2 * self.norm(x) * z + z)

    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(1e-28, scope="batch"))
    layer = fpi.FPILayer(Normalised(), solver=solver, adjoint=fpi.BackwardFPI(solver))
    z = leaf(3, 2)
    assert gradcheck(layer, z) and gradgradcheck(layer, z, fast_mode=True)


def test_the_solution_shares_no_memory_with_an_argument() -> None:
    z, x0 = torch.ones(2, 5), torch.ones(2, 3)
    for x in (
        fpi.fixed_point(lambda x, z: z[:, :3], x0, z),
        fpi.fixed_point(lambda x, z: z, z, z),
        fpi.fixed_point(lambda x: x.view_as(x), x0),
        fpi.fixed_point(lambda x: x, x0),
    ):
        x.add_(1)
    assert z.eq(1).all() and x0.eq(1).all()
