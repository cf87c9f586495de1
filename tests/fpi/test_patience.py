"""`check_every="auto"`: few checks, and the same end as with a check at every iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import DOUBLE


@dataclass(frozen=True)
class Counted(fpi.Relative):
    """Keeps count of its evaluations."""

    checks: list[int] = field(default_factory=list)

    def residual(self, change: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        self.checks.append(1)
        return super().residual(change, x)


def solve(
    solver: fpi.Solver, g: Callable[..., Tensor], *args: Tensor, x0: Tensor | None = None, tol: float = 1e-20
) -> tuple[Tensor, fpi.SolveInfo, int]:
    """Solution, diagnostics, number of checks."""
    criterion = Counted(tol)
    x0 = torch.zeros_like(args[-1]) if x0 is None else x0
    options: dict[str, Any] = {"solver": replace(solver, criterion=criterion), "per_sample": True, "return_info": True}
    with torch.no_grad():
        x, info = fpi.fixed_point(g, x0, *args, **options)
    return x, info, len(criterion.checks)


def linear(x: Tensor, rate: Tensor, b: Tensor) -> Tensor:
    return rate * x + b


@pytest.mark.parametrize("rate", [0.3, 0.9, 0.99])
def test_steady_convergence_ends_at_the_same_iteration_with_few_checks(rate: float) -> None:
    rates, b = torch.full((4, 1), rate, dtype=DOUBLE), torch.ones(4, 3, dtype=DOUBLE)
    spared, each = (solve(fpi.Picard(max_iter=5000, check_every=e), linear, rates, b) for e in ("auto", 1))
    assert torch.equal(spared[0], each[0]) and torch.equal(spared[1].iterations, each[1].iterations)
    torch.testing.assert_close(spared[1].rate, rates[:, 0], rtol=1e-3, atol=1e-3)
    n = each[1].evaluations
    assert each[2] == n and spared[2] <= 3 + n / 16 + 3 * torch.tensor(float(n)).log2()


def test_samples_of_different_rates_each_stop_at_their_own_iteration() -> None:
    rates, b = torch.tensor([[0.2], [0.5], [0.9], [0.97]], dtype=DOUBLE), torch.ones(4, 3, dtype=DOUBLE)
    spared, each = (solve(fpi.Picard(max_iter=5000, check_every=e), linear, rates, b) for e in ("auto", 1))
    assert torch.equal(spared[0], each[0]) and torch.equal(spared[1].iterations, each[1].iterations)
    assert spared[2] < each[2] / 3


@pytest.mark.parametrize("kind", [fpi.Anderson, fpi.Broyden])
def test_accelerated_solvers_pay_few_evaluations_for_the_checks_they_spare(kind: type[fpi.Solver]) -> None:
    torch.manual_seed(0)
    q = torch.linalg.qr(torch.randn(64, 64, dtype=DOUBLE)).Q
    a, b = q @ torch.diag(torch.linspace(-0.97, 0.97, 64, dtype=DOUBLE)) @ q.T, torch.randn(16, 64, dtype=DOUBLE)

    def g(x: Tensor, b: Tensor) -> Tensor:
        return torch.tanh(x @ a) + 0.1 * b

    spared, each = (solve(kind(max_iter=3000, check_every=e), g, b, tol=1e-12) for e in ("auto", 1))
    assert bool(spared[1].converged.all())
    assert spared[1].evaluations <= 1.1 * each[1].evaluations + 2
    assert spared[2] < 0.8 * each[2]


def test_a_solve_that_cannot_end_is_checked_seldom() -> None:
    rates, b = torch.full((4, 1), 0.9, dtype=DOUBLE), torch.ones(4, 3, dtype=DOUBLE)
    _, info, checks = solve(fpi.Picard(max_iter=100, on_failure="ignore"), linear, rates, b, tol=0.0)
    assert info.evaluations == 100 and checks <= 12
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=DOUBLE)
    solver = fpi.Picard(max_iter=100, on_failure="ignore")
    _, info, checks = solve(solver, lambda x, b: x @ turn + b, torch.ones(4, 2, dtype=DOUBLE))
    assert not info.converged.any() and checks <= 12


def test_a_jump_to_convergence_is_noticed_soon() -> None:
    """A map that creeps, then converges at once: at most twice as many iterations are added as before, or 32."""

    def creeping(at: int) -> Callable[[Tensor, Tensor], Tensor]:
        calls = iter(range(1, 10_000))
        return lambda x, b: b if next(calls) > at else x + b

    for at in (2, 5, 9, 40, 100):
        _, info, _ = solve(fpi.Picard(max_iter=1000), creeping(at), torch.ones(4, 2, dtype=DOUBLE))
        assert at + 2 <= info.evaluations <= at + 2 + min(2 * (at + 1), 32)


def test_a_divergence_between_checks_raises() -> None:
    with pytest.raises(fpi.FixedPointError, match="not|inf|nan"):
        solve(fpi.Picard(max_iter=1000), lambda x, b: 3 * x * x.abs() + b, torch.ones(4, 2))


def test_a_trace_holds_every_iteration() -> None:
    rates, b = torch.full((4, 1), 0.9, dtype=DOUBLE), torch.ones(4, 3, dtype=DOUBLE)
    _, info, checks = solve(fpi.Picard(max_iter=5000, trace=True), linear, rates, b)
    assert len(info.trace) == info.evaluations == checks


def test_an_unrolled_solve_and_one_norm_for_the_batch() -> None:
    rates, b = torch.full((4, 1), 0.9, dtype=DOUBLE), torch.ones(4, 3, dtype=DOUBLE, requires_grad=True)
    solver = fpi.Picard(criterion=fpi.Relative(1e-24, scope="batch"), max_iter=1000)
    x = fpi.fixed_point(linear, torch.zeros_like(b), rates, b, solver=solver, adjoint=fpi.Unrolled())
    (gradient,) = torch.autograd.grad(x.sum(), b)
    torch.testing.assert_close(gradient, torch.full_like(b, 10.0))
