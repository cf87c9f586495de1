"""Conjugate gradients on the normal equations against dense algebra, contraction or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import DOUBLE, NEARLY, contraction, cosine, picard


def solved_elsewhere(a: Tensor, b: Tensor, adjoint: fpi.Adjoint) -> Tensor:
    """x = A x + b whatever A is: started at its solution."""
    x = torch.linalg.solve(torch.eye(len(a), dtype=a.dtype) - a.detach(), b.detach().T).T
    solver = fpi.Picard(criterion=fpi.Relative(1e-18))
    return fpi.fixed_point(lambda x, a, b: x @ a.T + b, x, a, b, solver=solver, adjoint=adjoint)


def test_exact_where_the_backward_iteration_diverges() -> None:
    a = contraction(5, 3.0).requires_grad_()
    assert torch.linalg.eigvals(a).abs().max() > 1
    b = torch.randn(3, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    v = torch.ones(3, 5, dtype=DOUBLE)
    x = solved_elsewhere(a, b, fpi.NormalCG(criterion=NEARLY))
    da, db = torch.autograd.grad(x, (a, b), v)
    c = v @ torch.linalg.inv(torch.eye(5, dtype=DOUBLE) - a.detach())
    torch.testing.assert_close(db, c, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(da, c.T @ x.detach(), rtol=1e-9, atol=1e-9)
    with pytest.raises(fpi.FixedPointError, match="diverges"):
        torch.autograd.grad(solved_elsewhere(a, b, fpi.BackwardFPI(fpi.Picard(max_iter=2000))), b, v)


def test_second_derivatives_where_the_backward_iteration_diverges() -> None:
    """Newton's derivative: x = w x² + b at the expanding fixed point, by finite differences of dense algebra."""
    w = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
    b = torch.tensor([[-2.0], [-3.0]], dtype=DOUBLE, requires_grad=True)

    def exact(w: Tensor, b: Tensor) -> Tensor:
        return (1 + (1 - 4 * w * b).sqrt()) / (2 * w)

    def solve(w: Tensor, b: Tensor) -> Tensor:
        x0, solver = exact(w, b).detach(), fpi.Picard(criterion=fpi.Absolute(1e-20))
        return fpi.fixed_point(
            lambda x, w, b: w * x**2 + b, x0, w, b, solver=solver, adjoint=fpi.NormalCG(criterion=NEARLY)
        )

    found = torch.func.jacrev(torch.func.jacrev(lambda w: solve(w, b).sum()))(w)
    expected = torch.func.jacrev(torch.func.jacrev(lambda w: exact(w, b).sum()))(w)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    for f in (solve, exact):
        first = torch.autograd.grad(f(w, b).square().sum(), (w, b), create_graph=True)
        second = torch.autograd.grad(sum(t.sum() for t in first), (w, b))
        if f is solve:
            mine = second
    for a, e in zip(mine, second, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-9, atol=0)


def test_a_solve_ends_within_its_dimension() -> None:
    """In exact arithmetic d iterations are enough; two products an iteration."""
    a, v = contraction(6, 0.9), torch.ones(2, 6, dtype=DOUBLE)
    b = torch.ones(2, 6, dtype=DOUBLE, requires_grad=True)
    x, info = fpi.fixed_point(
        lambda x, a, b: x @ a.T + b,
        torch.zeros_like(b),
        a,
        b,
        solver=picard(),
        adjoint=fpi.NormalCG(criterion=fpi.Relative(1e-20)),
        return_info=True,
    )
    torch.autograd.grad(x, b, v)
    assert info.backward.iterations.max() <= 6 + 2
    assert info.backward.evaluations <= 2 * info.backward.iterations.max() + 2


def test_easy_samples_leave_and_hard_ones_end_exact() -> None:
    rate = torch.full((16, 2), 0.05, dtype=DOUBLE)
    rate[5] = torch.tensor([1.5, -2.0])  # 16 samples, one with several distinct large singular values
    z = torch.linspace(0, 1, 32, dtype=DOUBLE).reshape(16, 2).requires_grad_()
    solver = fpi.Anderson(criterion=NEARLY)
    x, info = fpi.fixed_point(
        cosine,
        torch.zeros_like(z),
        rate,
        z,
        solver=solver,
        adjoint=fpi.NormalCG(criterion=fpi.Relative(1e-16)),
        per_sample=True,
        return_info=True,
    )
    (found,) = torch.autograd.grad(x, z, torch.ones_like(x))
    torch.testing.assert_close(found, 1 / (1 + rate * x.detach().sin()), rtol=1e-7, atol=0)


def one_hard_sample(adjoint: fpi.Adjoint, rows: slice = slice(None)) -> tuple[Tensor, fpi.SolveInfo]:
    """dx̂/db of x = s (A x) + b with 15 small s and a large one, and the diagnostics of the backward solve."""
    a, b = contraction(20, 0.95), torch.ones(16, 20, dtype=DOUBLE)[rows].requires_grad_()
    scale = torch.full((16, 1), 0.01, dtype=DOUBLE)
    scale[5] = 1.0
    x, info = fpi.fixed_point(
        lambda x, s, a, b: s * (x @ a.T) + b,
        torch.zeros_like(b),
        scale[rows],
        a,
        b,
        solver=fpi.Anderson(criterion=NEARLY),
        adjoint=adjoint,
        per_sample=True,
        return_info=True,
    )
    return torch.autograd.grad(x, b, torch.ones_like(x))[0], info.backward


def test_compaction_changes_no_value_and_spares_the_products_of_converged_samples() -> None:
    criterion = fpi.Relative(1e-22)
    c, info = one_hard_sample(fpi.NormalCG(criterion=criterion))
    whole_c, whole = one_hard_sample(fpi.NormalCG(criterion=criterion, compact=False))
    torch.testing.assert_close(c, whole_c, rtol=1e-9, atol=1e-11)
    assert info.converged.all() and (info.iterations - whole.iterations).abs().max() <= 1
    assert whole.sample_evaluations == 16 * whole.evaluations
    easy = int(info.iterations.sort().values[-2])
    assert info.iterations.argmax() == 5 and info.iterations[5] > easy + 3
    # two products an iteration, of all until the easy samples are done, then of one; one more tries the cut
    assert info.sample_evaluations <= 16 * (2 * easy + 2) + info.evaluations
    for i in (0, 5):
        alone, single = one_hard_sample(fpi.NormalCG(criterion=criterion), slice(i, i + 1))
        torch.testing.assert_close(c[i], alone[0], rtol=1e-9, atol=1e-11)
        assert abs(single.iterations.item() - info.iterations[i]) <= 1


def test_compaction_reaches_second_derivatives_and_forward_mode() -> None:
    rate = torch.full((8, 1), 0.05, dtype=DOUBLE)
    rate[3] = 0.95
    z = torch.linspace(0, 1, 16, dtype=DOUBLE).reshape(8, 2).requires_grad_()

    def f(z: Tensor, compact: bool) -> Tensor:
        adjoint = fpi.NormalCG(criterion=fpi.Relative(1e-22), compact=compact)
        solver = fpi.Picard(criterion=NEARLY, compact=compact)
        return fpi.fixed_point(cosine, torch.zeros_like(z), rate, z, solver=solver, adjoint=adjoint, per_sample=True)

    found = []
    for compact in (True, False):
        (first,) = torch.autograd.grad(f(z, compact).sin().sum(), z, create_graph=True)
        tangent = torch.func.jvp(lambda z, c=compact: f(z, c), (z.detach(),), (torch.ones_like(z),))[1]
        found.append((first, *torch.autograd.grad(first.square().sum(), z), tangent))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_its_options_are_the_solvers() -> None:
    info = one_hard_sample(fpi.NormalCG(criterion=NEARLY, trace=True))[1]
    assert len(info.trace) == info.iterations.max() and info.trace[0].shape == (16,)
    with pytest.raises(ValueError, match="on_failure"):
        fpi.NormalCG(on_failure="never")  # type: ignore[arg-type]


def test_it_needs_an_affine_step() -> None:
    with pytest.raises(ValueError, match="NormalCG"):
        fpi.fixed_point(torch.cos, torch.zeros(1, 1), solver=fpi.ConjugateGradient())


def test_bad_options_are_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="max_iter"):
        fpi.NormalCG(max_iter=0)


def test_the_cap_is_announced() -> None:
    b = torch.ones(2, 6, dtype=DOUBLE, requires_grad=True)
    x = solved_elsewhere(contraction(6, 3.0), b, fpi.NormalCG(max_iter=2, criterion=NEARLY))
    with pytest.warns(fpi.ConvergenceWarning, match=r"ConjugateGradient \(backward solve\): 0/2"):
        x.sum().backward()
