"""Freezing and compaction: every sample ends as if it were solved alone, and one hard sample does not cost a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fpi
from tests.fpi.problems import CUT_CRITERION as CRITERION
from tests.fpi.problems import CUT_SOLVERS, DOUBLE, NEARLY, TURN, SmoothEnergy, interleaved, one_hard, spacing, turning

every_solver = pytest.mark.parametrize("solver", CUT_SOLVERS.values(), ids=CUT_SOLVERS)


def solve(
    solver: fpi.Solver, rate: Tensor, z: Tensor, adjoint: fpi.Adjoint | None = None
) -> tuple[Tensor, Tensor, fpi.SolveInfo]:
    """Solution, gradient with respect to z, diagnostics."""
    adjoint = fpi.BackwardFPI(solver) if adjoint is None else adjoint
    options: dict[str, Any] = {"solver": solver, "adjoint": adjoint, "per_sample": True, "return_info": True}
    x, info = fpi.fixed_point(turning, torch.zeros_like(z), rate, z, **options)
    return x.detach(), torch.autograd.grad(x.sin().sum(), z)[0], info


@every_solver
@pytest.mark.parametrize("batch", [one_hard, interleaved])
def test_every_sample_ends_as_if_it_were_alone(solver: fpi.Solver, batch) -> None:
    rate, z = batch()
    x, dz, info = solve(solver, rate, z)
    whole_x, whole_dz, whole = solve(
        replace(solver, compact=False), rate, z, fpi.BackwardFPI(replace(solver, compact=False))
    )
    # smaller batches take other kernels, and accelerated methods amplify their rounding
    close: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-9}
    apart = 0 if type(solver) is fpi.Picard else 2 * spacing(solver)
    # an unsteady convergence looked ahead for by itself is looked at elsewhere than together with others
    late = apart + 16 * (apart > 0 and solver.check_every == "auto")
    torch.testing.assert_close(x, whole_x, **close)
    torch.testing.assert_close(dz, whole_dz, **close)
    for mine, other in ((info, whole), (info.backward, whole.backward)):
        assert (mine.iterations - other.iterations).abs().max() <= apart
        assert (mine.residual <= 1e-20).all() and mine.converged.all()
    for i in range(0, len(z), 5):
        alone, gradient, single = solve(solver, rate[i : i + 1], z[i : i + 1])
        torch.testing.assert_close(x[i], alone[0], **close)
        torch.testing.assert_close(dz[i], gradient[0], **close)
        assert abs(single.iterations.item() - info.iterations[i]) <= late
        assert abs(single.backward.iterations.item() - info.backward.iterations[i]) <= late


@every_solver
def test_one_hard_sample_does_not_cost_a_batch(solver: fpi.Solver) -> None:
    rate, z = one_hard()
    info = solve(solver, rate, z)[2]
    for direction in (info, info.backward):
        assert direction.converged.all() and direction.iterations.argmax() == 17
        easy = max(int(direction.iterations.sort().values[-2]), spacing(solver))
        # all of the batch until the easy ones are done, then the hard one alone; one evaluation tries the cut
        assert direction.sample_evaluations <= 24 * (easy + 1) + direction.evaluations
        assert direction.sample_evaluations < 0.9 * direction.evaluations * 24
    whole = solve(replace(solver, compact=False), rate, z)[2]
    assert whole.sample_evaluations == whole.evaluations * 24


def test_several_successive_cuts() -> None:
    """The sizes of the batches that g sees; the work is that of every sample alone, up to a factor of two."""
    rate, z = interleaved()
    sizes: list[int] = []

    def g(x: Tensor, rate: Tensor, z: Tensor) -> Tensor:
        sizes.append(len(x))
        return turning(x, rate, z)

    solver = fpi.Picard(trace=True, **CRITERION)
    with torch.no_grad():
        _, info = fpi.fixed_point(g, torch.zeros_like(z), rate, z, solver=solver, per_sample=True, return_info=True)
    assert len(set(sizes)) >= 4 and sizes == sorted(sizes, reverse=True) and sizes[0] == 24 and sizes[-1] <= 2
    assert sum(sizes) == info.sample_evaluations
    assert int(info.iterations.sum()) <= info.sample_evaluations <= 2 * int(info.iterations.sum()) + 24
    # the trace has every check of the whole batch, a stopped sample keeps its last value
    trace = torch.stack(info.trace)
    assert trace.shape == (info.evaluations, 24)
    assert torch.equal(trace[-1], info.residual)
    for i in range(24):
        n = int(info.iterations[i])
        assert trace[n - 1, i] <= 1e-20 < trace[n - 2, i] and trace[n - 1 :, i].eq(trace[n - 1, i]).all()


def test_the_rate_of_a_linear_map_is_its_contraction() -> None:
    """Right after cuts, with checks at a distance, forward and backward."""
    rate = torch.linspace(0.1, 0.96, 20, dtype=DOUBLE)[torch.arange(20) * 7 % 20, None]
    b = torch.ones(20, 2, dtype=DOUBLE, requires_grad=True)
    for check_every in (1, 3):
        solver = fpi.Picard(check_every=check_every, **CRITERION)
        x, info = fpi.fixed_point(
            lambda x, r, b: r * x + b,
            torch.zeros(20, 2, dtype=DOUBLE),
            rate,
            b,
            solver=solver,
            adjoint=fpi.BackwardFPI(solver),
            per_sample=True,
            return_info=True,
        )
        torch.autograd.grad(x.sum(), b)
        assert info.sample_evaluations < info.evaluations * 20
        for direction in (info, info.backward):
            torch.testing.assert_close(direction.rate, rate[:, 0], rtol=0.02, atol=0.01)


@every_solver
def test_pytree_states_and_inputs(solver: fpi.Solver) -> None:
    class G(nn.Module):
        def forward(self, x: dict[str, Tensor], z: dict[str, Any]) -> dict[str, Tensor]:
            u = z["rate"] * x["v"].sum(2) @ TURN + z["b"]
            return {"u": u, "v": torch.sin(x["u"])[:, :, None] * z["shared"]}

    rate, b = one_hard()
    shared = torch.tensor([0.7, 0.4], dtype=DOUBLE, requires_grad=True)
    x0 = {"u": torch.zeros_like(b), "v": torch.zeros(24, 8, 2, dtype=DOUBLE)}

    def run(compact: bool) -> tuple[list[Tensor], fpi.SolveInfo]:
        chosen = replace(solver, compact=compact)
        layer = fpi.FPILayer(G(), solver=chosen, adjoint=fpi.BackwardFPI(chosen))
        x = layer({"rate": 0.9 * rate, "b": b, "shared": shared, "name": "constant"}, x0)
        return [*x.values(), *torch.autograd.grad(x["u"].sum() + x["v"].sin().sum(), (b, shared))], layer.info

    (found, info), (expected, whole) = run(True), run(False)
    for a, e in zip(found, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-9, atol=1e-12)
    assert info.sample_evaluations < whole.sample_evaluations
    assert info.backward.sample_evaluations < whole.backward.sample_evaluations


def test_forward_mode_and_second_derivatives_are_cut_too() -> None:
    rate, z = interleaved()

    def f(z: Tensor, compact: bool) -> Tensor:
        solver = fpi.Picard(compact=compact, **CRITERION)
        options: dict[str, Any] = {"solver": solver, "adjoint": fpi.BackwardFPI(solver), "per_sample": True}
        return fpi.fixed_point(turning, torch.zeros(24, 8, dtype=DOUBLE), rate, z, **options)

    second = []
    for compact in (True, False):
        (first,) = torch.autograd.grad(f(z, compact).sin().sum(), z, create_graph=True)
        tangent = torch.func.jvp(lambda z, c=compact: f(z, c), (z.detach(),), (torch.ones_like(z),))[1]
        second.append((*torch.autograd.grad(first.square().sum(), z), tangent))
    for a, b in zip(*second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_lbfgs_is_cut() -> None:
    torch.manual_seed(0)
    energy = SmoothEnergy(3, 3).double()
    z = torch.randn(16, 3, dtype=DOUBLE)
    x0 = torch.zeros_like(z)
    found = []
    for compact in (True, False):
        solver = fpi.LBFGS(criterion=NEARLY, max_iter=300, compact=compact)
        layer = fpi.FPI_GD(energy, step_size=0.5, solver=solver)
        with torch.no_grad():
            x0[1:] = layer(z)[1:]  # all but one start at their solutions
            x0[0] = 3.0
            found.append((layer(z, x0), layer.info))
    (x, info), (whole_x, whole) = found
    torch.testing.assert_close(x, whole_x, rtol=1e-10, atol=1e-12)
    assert info.converged.all() and info.sample_evaluations < 0.5 * whole.sample_evaluations
    assert whole.sample_evaluations == 16 * whole.evaluations


def test_a_batch_is_cut_where_that_saves_an_evaluation() -> None:
    """Seven samples end together; the eighth seems to need one iteration more, and in one case needs fifty."""

    def g(x: Tensor, slow_below: Tensor) -> Tensor:
        return torch.where(x.abs() > slow_below, 0.5 * x, -0.98 * x)

    x0, slow_below = torch.ones(8, 1, dtype=DOUBLE), torch.zeros(8, 1, dtype=DOUBLE)
    x0[7] = 2.0
    solver = fpi.Picard(criterion=fpi.Absolute(1e-8), check_every=1)
    for threshold, evaluations, cut in ((0.0, 15, False), (2e-4, 59, True)):
        slow_below[7] = threshold
        with torch.no_grad():
            _, info = fpi.fixed_point(g, x0, slow_below, solver=solver, per_sample=True, return_info=True)
        assert info.converged.all() and (info.iterations[:7] == 14).all()
        assert info.evaluations == evaluations
        assert (info.sample_evaluations < evaluations * 8) == cut
