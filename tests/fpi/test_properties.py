"""Random contractive maps against dense linear algebra: solution, gradient of every input, Hessian-vector product."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fpi
from tests.fpi.problems import DOUBLE, EXACT, SOLVERS, contraction

OPTIONS = settings(max_examples=30, deadline=None, derandomize=True)


@dataclass
class Random:
    """x = φ(A x + s b) with ‖A‖₂ = norm; φ is the identity or tanh.  A, b and s are inputs."""

    d: int
    batch: int
    norm: float
    seed: int
    linear: bool

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        b = torch.randn(self.batch, self.d, dtype=DOUBLE, generator=generator)
        s = 1 + torch.rand((), dtype=DOUBLE, generator=generator)
        a, b, s = (t.requires_grad_() for t in (contraction(self.d, self.norm, self.seed), b, s))
        return a, b, s

    def g(self, x: Tensor, a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        u = x @ a.T + s * b
        return u if self.linear else torch.tanh(u)

    def solve(self, inputs: tuple[Tensor, ...], solver: fpi.Solver, adjoint: fpi.Adjoint) -> Tensor:
        return fpi.fixed_point(self.g, torch.zeros_like(inputs[1]), *inputs, solver=solver, adjoint=adjoint)

    def dense(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The solution attached to the graph by linear algebra: two Newton steps on x − g(x) from the exact x̂."""
        with torch.no_grad():
            x = torch.zeros_like(inputs[1])
            for _ in range(60 if not self.linear else 1):
                x = self._newton(x, inputs)
        for _ in range(2):  # exact first and second derivatives
            x = self._newton(x, inputs)
        return x

    def _newton(self, x: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        gx = self.g(x, *inputs)
        slope = torch.ones_like(gx) if self.linear else 1 - gx.square()
        matrix = torch.eye(self.d, dtype=DOUBLE) - slope[:, :, None] * inputs[0]
        return x + torch.linalg.solve(matrix, (gx - x)[:, :, None])[:, :, 0]


@st.composite
def problems(draw: st.DrawFn, max_norm: float = 0.95) -> Random:
    return Random(
        d=draw(st.integers(1, 6)),
        batch=draw(st.integers(1, 4)),
        norm=draw(st.floats(0, max_norm)),
        seed=draw(st.integers(0, 10_000)),
        linear=draw(st.booleans()),
    )


def derivatives(x: Tensor, inputs: tuple[Tensor, ...], seed: int) -> list[Tensor]:
    """Gradients of a loss with respect to every input, and the product of its Hessian with a random direction."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(x.shape, dtype=DOUBLE, generator=generator)
    directions = [torch.randn(t.shape, dtype=DOUBLE, generator=generator) for t in inputs]
    gradients = torch.autograd.grad((x.sin() * v).sum(), inputs, create_graph=True)
    along = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    return [*gradients, *torch.autograd.grad(along, inputs, materialize_grads=True)]


def assert_same(found: list[Tensor], expected: list[Tensor], tol: float) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tol, atol=tol * (1 + float(b.detach().abs().max())))


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@OPTIONS
@given(problem=problems())
def test_every_solver(solver: fpi.Solver, problem: Random) -> None:
    """Forward and backward by the same solver."""
    inputs = problem.inputs()
    x, dense = problem.solve(inputs, solver, fpi.BackwardFPI(solver)), problem.dense(inputs)
    assert_same([x], [dense], 1e-10)
    assert_same(derivatives(x, inputs, problem.seed), derivatives(dense, inputs, problem.seed), 1e-8)


@pytest.mark.parametrize("adjoint", EXACT.values(), ids=EXACT)
@OPTIONS
@given(problem=problems())
def test_every_exact_adjoint(adjoint: fpi.Adjoint, problem: Random) -> None:
    inputs = problem.inputs()
    x, dense = problem.solve(inputs, SOLVERS["anderson"], adjoint), problem.dense(inputs)
    assert_same(derivatives(x, inputs, problem.seed), derivatives(dense, inputs, problem.seed), 1e-8)


@pytest.mark.parametrize("name", SOLVERS)
@OPTIONS
@given(problem=problems(max_norm=0.7))
def test_unrolled_iterations_have_the_implicit_gradient(name: str, problem: Random) -> None:
    """Also for samples that were frozen long before the solve ended: no nan from their unused history."""
    solver = {"criterion": fpi.Relative(1e-26), "max_iter": 400}
    kinds = {"picard": fpi.Picard, "anderson": fpi.Anderson, "broyden": fpi.Broyden}
    chosen = fpi.Picard(damping=0.6, **solver) if name == "damped" else kinds[name](**solver)
    a, b, s = problem.inputs()
    scaled = b * torch.logspace(-6, 1, problem.batch, dtype=DOUBLE)[:, None]
    unrolled = problem.solve((a, scaled, s), chosen, fpi.Unrolled())
    implicit = problem.solve((a, scaled, s), chosen, fpi.Dense())
    torch.testing.assert_close(unrolled, implicit)
    found = torch.autograd.grad(unrolled.square().sum(), (a, b, s), retain_graph=True)
    expected = torch.autograd.grad(implicit.square().sum(), (a, b, s))
    assert_same(list(found), list(expected), 1e-6)


@OPTIONS
@given(problem=problems())
def test_neumann_sums_approach_the_exact_gradient(problem: Random) -> None:
    """The error after k terms is at most ‖J‖ᵏ ‖c‖: it falls below every bound, and no faster than it may."""
    inputs = problem.inputs()
    v = torch.randn(problem.batch, problem.d, dtype=DOUBLE, generator=torch.Generator().manual_seed(problem.seed))

    def cotangent(adjoint: fpi.Adjoint) -> Tensor:
        """∇_b L / s of a linear map is c itself."""
        linear = Random(problem.d, problem.batch, problem.norm, problem.seed, linear=True)
        x = linear.solve(inputs, SOLVERS["anderson"], adjoint)
        return torch.autograd.grad(x, inputs[1], v)[0] / inputs[2].detach()

    exact = cotangent(fpi.Dense())
    for k in (1, 2, 8, 32):
        error = (cotangent(fpi.Neumann(k)) - exact).norm(dim=1)
        assert (error <= problem.norm**k * exact.norm(dim=1) + 1e-11).all()


@OPTIONS
@given(problem=problems())
def test_the_jacobian_free_direction_is_not_the_gradient_but_not_opposed(problem: Random) -> None:
    """⟨v, (I − J)⁻ᵀ v⟩ > 0 whenever ‖J‖ < 1: c of JacobianFree is v, that of BackwardFPI (I − J)⁻ᵀ v."""
    inputs = problem.inputs()
    x = problem.solve(inputs, SOLVERS["anderson"], fpi.JacobianFree())
    y = problem.solve(inputs, SOLVERS["anderson"], fpi.Dense())
    v = torch.ones_like(x)
    # divided by φ' = 1 − tanh², ∇_b L / s is c
    slope = 1 if problem.linear else 1 - x.detach().square()
    free = torch.autograd.grad(x, inputs[1], v)[0] / slope
    exact = torch.autograd.grad(y, inputs[1], v)[0] / slope
    assert ((free * exact).sum(1) > 0).all()
    assert problem.norm < 0.05 or (free - exact).norm() > 1e-4 * exact.norm()


@OPTIONS
@given(problem=problems(max_norm=0.9), power=st.integers(0, 8))
def test_single_precision_agrees_at_every_scale_of_the_loss(problem: Random, power: int) -> None:
    """Default options: the gradient's relative error does not depend on the loss' scale 10^−power."""
    scale = 10.0**-power
    exact_inputs = problem.inputs()
    inputs = tuple(t.detach().float().requires_grad_() for t in exact_inputs)
    x = problem.solve(inputs, fpi.Picard(max_iter=2000), fpi.BackwardFPI(fpi.Picard(max_iter=2000)))
    exact = problem.solve(exact_inputs, SOLVERS["anderson"], fpi.Dense())
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.double(), exact, rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad(scale * x.sum(), inputs)
    expected = torch.autograd.grad(exact.sum(), exact_inputs)
    assert_same([f.double() / scale for f in found], list(expected), 2e-4)
