"""All solvers find the same fixed points; freezing, damping, failure policies."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fpi
from tests.fpi.problems import TIGHT, make_gd, make_nn


@pytest.mark.parametrize(
    "solver",
    [
        fpi.Picard(criterion=TIGHT, damping=0.5, max_iter=2000),
        fpi.Picard(criterion=TIGHT, check_every=7),
        fpi.Anderson(criterion=fpi.Relative(1e-26)),
        fpi.Anderson(criterion=fpi.Relative(1e-26), memory=1),
        fpi.LBFGS(criterion=fpi.Relative(1e-26)),
    ],
    ids=["damped", "check_every", "anderson", "anderson-1", "lbfgs"],
)
def test_same_fixed_point_as_picard(solver: fpi.Solver, z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_gd()
    expected = layer(z)
    layer.solver = solver
    torch.testing.assert_close(layer(z), expected, rtol=1e-10, atol=1e-11)
    assert layer.info.converged.all()


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.95, 0.95), st.integers(2, 6), st.integers(0, 10_000), st.sampled_from([fpi.Picard, fpi.Anderson]))
def test_linear_maps_against_linear_algebra(rho: float, d: int, seed: int, kind: type[fpi.Solver]) -> None:
    """x = A x + b with ‖A‖₂ = |rho|: solution and gradient of b by dense algebra."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(d, d, dtype=torch.float64, generator=generator)
    a = rho * a / torch.linalg.matrix_norm(a, 2)
    b = torch.randn(3, d, dtype=torch.float64, generator=generator).requires_grad_()
    solver = kind(criterion=fpi.Relative(1e-26), max_iter=2000)
    x = fpi.fixed_point(
        lambda x, a, b: x @ a.T + b, torch.zeros_like(b), a, b, solver=solver, adjoint=fpi.BackwardFPI(solver)
    )
    inverse = torch.linalg.inv(torch.eye(d, dtype=torch.float64) - a)
    torch.testing.assert_close(x, b @ inverse.T, rtol=1e-8, atol=1e-10)
    v = torch.randn(3, d, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad(x, b, v)
    torch.testing.assert_close(gradient, v @ inverse, rtol=1e-8, atol=1e-10)


def test_anderson_needs_fewer_evaluations_at_every_scale_of_the_state() -> None:
    torch.manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(64, 64))
    a = q @ torch.diag(torch.linspace(-0.5, 0.97, 64)) @ q.T
    for scale in (1.0, 1e-4):
        b = scale * torch.randn(8, 64)

        def evaluations(solver: fpi.Solver, b: Tensor = b) -> int:
            return fpi.fixed_point(lambda x, b: x @ a + b, torch.zeros_like(b), b, solver=solver, return_info=True)[
                1
            ].evaluations

        criterion = fpi.Relative(1e-10)
        assert evaluations(fpi.Anderson(criterion=criterion)) < 0.5 * evaluations(fpi.Picard(criterion=criterion))


def test_anderson_converges_where_picard_cannot() -> None:
    """A rotation by 90° with gain 1: Picard cycles for ever."""
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    b = torch.ones(1, 2, dtype=torch.float64)
    x, info = fpi.fixed_point(
        lambda x: x @ rotation.T + b, torch.zeros_like(b), solver=fpi.Anderson(max_iter=20), return_info=True
    )
    assert info.converged.all()
    torch.testing.assert_close(x, x @ rotation.T + b)


def test_a_frozen_sample_is_what_it_would_be_alone() -> None:
    torch.manual_seed(0)
    rate = torch.tensor([[0.1], [0.5], [0.9], [0.99]], dtype=torch.float64)

    def g(x: Tensor, rate: Tensor) -> Tensor:
        return rate * torch.cos(x)

    for solver in (fpi.Picard(criterion=fpi.Relative(1e-8)), fpi.Anderson(criterion=fpi.Relative(1e-8))):
        x, info = fpi.fixed_point(g, torch.zeros(4, 1, dtype=torch.float64), rate, solver=solver, return_info=True)
        assert info.iterations.unique().numel() > 1
        for i in range(4):
            alone, single = fpi.fixed_point(
                g, torch.zeros(1, 1, dtype=torch.float64), rate[i : i + 1], solver=solver, return_info=True
            )
            assert torch.equal(alone[0], x[i])
            assert single.iterations.item() == info.iterations[i].item()


def test_batch_scope_stops_all_samples_together(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn(solver=fpi.Picard(criterion=fpi.Relative(1e-8, scope="batch")))
    layer(z)
    assert layer.info.iterations.unique().numel() == 1 and layer.info.converged.all()


def test_lbfgs_leaves_the_plateau_that_satisfies_the_criterion() -> None:
    """E(x) = softplus-like well with a flat, saturated side: descent must end in the well, below the start's energy."""

    class Well(torch.nn.Module):
        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return ((torch.sigmoid(x) - z) ** 2).sum(1)

    z = torch.full((3, 2), 0.7, dtype=torch.float64)
    start = torch.full((3, 2), -6.0, dtype=torch.float64)
    layer = fpi.FPI_GD(Well(), step_size=1.0, solver=fpi.LBFGS(criterion=fpi.Absolute(1e-20), max_iter=200))
    torch.testing.assert_close(torch.sigmoid(layer(z, start)), z, rtol=1e-6, atol=1e-6)


def test_lbfgs_without_an_energy_is_refused(z: Tensor) -> None:
    with pytest.raises(ValueError, match="FPI_GD"):
        make_nn(solver=fpi.LBFGS())(z)


class TestFailure:
    def test_cap_warns_raises_or_is_ignored(self) -> None:
        def solve(policy: str) -> fpi.SolveInfo:
            solver = fpi.Picard(max_iter=3, on_failure=policy)  # type: ignore[arg-type]
            return fpi.fixed_point(lambda x: 0.9 * x + 1, torch.zeros(2, 1), solver=solver, return_info=True)[1]

        with pytest.warns(fpi.ConvergenceWarning, match="0/2 samples converged"):
            solve("warn")
        with pytest.raises(fpi.FixedPointError, match="max_iter"):
            solve("raise")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not solve("ignore").converged.any()

    def test_divergence_names_the_iteration(self) -> None:
        with pytest.raises(fpi.FixedPointError, match="at iteration"):
            fpi.fixed_point(lambda x: 1e10 * x + 1, torch.zeros(2, 1), solver=fpi.Picard(max_iter=50))

    def test_one_bad_sample_is_not_hidden(self) -> None:
        bad = torch.tensor([[0.0], [float("nan")]])
        with pytest.raises(fpi.FixedPointError, match="nan"):
            fpi.fixed_point(lambda x, b: 0.5 * x + b, torch.zeros(2, 1), bad)

    def test_other_samples_converge_beside_a_bad_one_that_is_ignored(self) -> None:
        bad = torch.tensor([[1.0], [float("nan")]])
        x, info = fpi.fixed_point(
            lambda x, b: 0.5 * x + b, torch.zeros(2, 1), bad, solver=fpi.Picard(on_failure="ignore"), return_info=True
        )
        assert info.converged.tolist() == [True, False] and info.iterations[0] < 50
        torch.testing.assert_close(x[0], torch.tensor([2.0]), rtol=1e-5, atol=0)

    def test_an_empty_batch_is_solved(self) -> None:
        x, info = fpi.fixed_point(lambda x: 0.5 * x, torch.zeros(0, 3), return_info=True)
        assert x.shape == (0, 3) and info.converged.numel() == 0

    def test_a_diverging_backward_solve_is_announced(self) -> None:
        """g'(x̂) = −3 at the fixed point that damping finds: the adjoint iteration diverges and must say so."""
        w = torch.tensor(-3.0, requires_grad=True)
        x = fpi.fixed_point(
            lambda x, w: w * x + 4,
            torch.zeros(1, 1),
            w,
            solver=fpi.Picard(damping=0.25),
            adjoint=fpi.BackwardFPI(fpi.Picard(max_iter=200)),
        )
        torch.testing.assert_close(x.detach(), torch.ones(1, 1))
        with pytest.raises(fpi.FixedPointError, match="diverges"):
            x.sum().backward()

    @pytest.mark.parametrize("option", [{"max_iter": 0}, {"check_every": 0}, {"on_failure": "stop"}, {"damping": 2.0}])
    def test_bad_options_are_named(self, option: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(option))):
            fpi.Picard(**option)  # type: ignore[arg-type]
