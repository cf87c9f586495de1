"""What ends badly is said: caps, divergence, gradients that are not finite; what is empty is no failure."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fpi
from tests.fpi.problems import CUT_SOLVERS, DOUBLE, EXACT, make_gd, make_nn, one_hard, picard, turning

BACKWARD = {name: adjoint for name, adjoint in EXACT.items() if name != "Dense"}


class TestEmpty:
    @pytest.mark.parametrize("solver", [*CUT_SOLVERS.values(), fpi.LBFGS()], ids=[*CUT_SOLVERS, "lbfgs"])
    @pytest.mark.parametrize("order", [1, 2])
    def test_no_samples(self, solver: fpi.Solver, order: int) -> None:
        adjoint = fpi.BackwardFPI(picard() if isinstance(solver, fpi.LBFGS) else solver)
        self.check(make_gd(solver=solver, adjoint=adjoint), order)

    @pytest.mark.parametrize(
        "adjoint", [*EXACT.values(), fpi.JacobianFree(), fpi.Neumann(3), fpi.Unrolled(), fpi.Dense(terms=5)]
    )
    @pytest.mark.parametrize("order", [1, 2])
    def test_no_samples_for_any_adjoint(self, make_layer, adjoint: fpi.Adjoint, order: int) -> None:
        self.check(make_layer(adjoint=adjoint), order)

    @staticmethod
    def check(layer: fpi.FPILayer, order: int) -> None:
        z = torch.zeros(0, 3, dtype=DOUBLE, requires_grad=True)
        x = layer(z)
        assert x.shape == (0, 4) and layer.info.converged.numel() == 0
        assert "0/0 samples" in str(layer.info)
        inputs = [z, *layer.parameters()]
        found = torch.autograd.grad(x.square().sum(), inputs, create_graph=order == 2, materialize_grads=True)
        if order == 2:
            total = sum(g.square().sum() for g in found)
            found = torch.autograd.grad(total, inputs, materialize_grads=True)
        assert all(g.shape == p.shape and g.eq(0).all() for g, p in zip(found, inputs, strict=True))

    def test_no_samples_under_the_batch_criterion(self) -> None:
        solver = fpi.Anderson(criterion=fpi.Relative(scope="batch"), check_every=3)
        x, info = fpi.fixed_point(torch.cos, torch.zeros(0, 2), solver=solver, return_info=True)
        assert x.shape == (0, 2) and info.converged.shape == (0,)

    @pytest.mark.parametrize("solver", [*CUT_SOLVERS.values(), fpi.LBFGS()], ids=[*CUT_SOLVERS, "lbfgs"])
    def test_no_entries(self, solver: fpi.Solver) -> None:
        class Energy(torch.nn.Module):
            def forward(self, x: Tensor, z: Tensor) -> Tensor:
                return x.square().sum(1)

        layer = fpi.FPI_GD(Energy(), step_size=0.1, solver=solver)
        assert layer(torch.zeros(3, 0)).shape == (3, 0)


@pytest.mark.parametrize("solver", CUT_SOLVERS.values(), ids=CUT_SOLVERS)
class TestCap:
    def solve(self, solver: fpi.Solver, policy: str) -> fpi.SolveInfo:
        rate, z = one_hard()
        options = {"criterion": fpi.Relative(1e-20), "max_iter": 7, "check_every": solver.check_every}
        capped = type(solver)(on_failure=policy, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            return fpi.fixed_point(
                turning, torch.zeros_like(z), rate, z, solver=capped, per_sample=True, return_info=True
            )[1]

    def test_warns_raises_or_is_silent(self, solver: fpi.Solver) -> None:
        with pytest.warns(fpi.ConvergenceWarning, match=f"{type(solver).__name__}: .*/24 samples"):
            info = self.solve(solver, "warn")
        assert not info.converged[17] and info.iterations[17] == 7 == info.evaluations
        assert info.residual[17] > 1e-20
        with pytest.raises(fpi.FixedPointError, match="max_iter"):
            self.solve(solver, "raise")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(self.solve(solver, "ignore").converged, info.converged)


@pytest.mark.parametrize("kind", [fpi.Picard, fpi.Anderson, fpi.Broyden])
class TestDivergence:
    def test_names_the_iteration(self, kind: type[fpi.Solver]) -> None:
        with pytest.raises(fpi.FixedPointError, match="at iteration"):
            fpi.fixed_point(lambda x: 1e10 * x.sign() * x.square() + 1, torch.zeros(2, 1), solver=kind(max_iter=50))

    def test_one_bad_sample_is_not_hidden(self, kind: type[fpi.Solver]) -> None:
        bad = torch.tensor([[0.0], [float("nan")]])
        with pytest.raises(fpi.FixedPointError, match="nan"):
            fpi.fixed_point(lambda x, b: 0.5 * x + b, torch.zeros(2, 1), bad, solver=kind(check_every=3))

    def test_other_samples_converge_beside_a_bad_one_that_is_ignored(self, kind: type[fpi.Solver]) -> None:
        bad = torch.tensor([[1.0], [float("nan")], [2.0], [3.0]])
        solver = kind(on_failure="ignore", max_iter=60)
        for per_sample in (False, True):
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a sample that is nan in whole and part is no sign of mixing
                x, info = fpi.fixed_point(
                    lambda x, b: 0.5 * x + b,
                    torch.zeros(4, 1),
                    bad,
                    solver=solver,
                    per_sample=per_sample,
                    return_info=True,
                )
            assert (info.sample_evaluations < 4 * info.evaluations) == per_sample
            assert info.converged.tolist() == [True, False, True, True] and info.iterations[[0, 2, 3]].max() < 50
            torch.testing.assert_close(x[[0, 2, 3]], torch.tensor([[2.0], [4.0], [6.0]]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "option", [{"max_iter": 0}, {"check_every": 0}, {"on_failure": "stop"}, {"damping": 2.0}, {"memory": 0}]
)
def test_bad_options_are_named(option: dict[str, object]) -> None:
    name = next(iter(option))
    for kind in [fpi.Picard] if name == "damping" else [fpi.Anderson, fpi.Broyden]:
        with pytest.raises(ValueError, match=name):
            kind(**option)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: fpi.Picard(criterion=1e-6), r"Picard\(criterion=1e-06\): expected fpi.Relative"),  # type: ignore[arg-type]
        (lambda: fpi.BackwardFPI("picard"), r"BackwardFPI\(solver='picard'\): expected a solver"),  # type: ignore[arg-type]
        (lambda: fpi.fixed_point(torch.cos, torch.zeros(1, 1), solver=fpi.Picard), "solver=Picard: expected a solver"),  # type: ignore[call-overload]
        (lambda: fpi.FPILayer(nn.Tanh(), adjoint=fpi.BackwardFPI), "adjoint=BackwardFPI: expected an adjoint"),  # type: ignore[arg-type]
    ],
)
def test_something_else_than_an_option_is_named(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        wrong()


@pytest.mark.parametrize("adjoint", BACKWARD.values(), ids=BACKWARD)
class TestIncomingGradient:
    @pytest.mark.parametrize("value", [float("inf"), float("nan")])
    @pytest.mark.parametrize("order", [1, 2])
    def test_what_is_not_finite_is_handed_on(self, adjoint: fpi.Adjoint, value: float, order: int, z: Tensor) -> None:
        """An overflow under loss scaling: the scaler finds it in the gradients and skips the step."""
        torch.manual_seed(0)
        layer = make_nn(adjoint=adjoint)
        x = layer(z)
        v = torch.ones_like(x)
        v[2, 1] = value
        with pytest.warns(fpi.ConvergenceWarning, match="not finite"):
            found = torch.autograd.grad(x, [z, *layer.parameters()], v, create_graph=order == 2)
        assert not torch.isfinite(found[0][2]).all() and all(not torch.isfinite(g).all() for g in found[1:3])

    def test_zero_gives_zero(self, adjoint: fpi.Adjoint, z: Tensor) -> None:
        torch.manual_seed(0)
        layer = make_nn(adjoint=adjoint)
        found = torch.autograd.grad(layer(z), [z, *layer.parameters()], torch.zeros(5, 4, dtype=DOUBLE))
        assert all(g.eq(0).all() for g in found) and layer.info.backward.converged.all()

    def test_samples_without_a_gradient_stay_without(self, adjoint: fpi.Adjoint, z: Tensor) -> None:
        torch.manual_seed(0)
        layer = make_nn(adjoint=adjoint)
        (found,) = torch.autograd.grad(layer(z)[3].sum(), z)
        assert found[[0, 1, 2, 4]].eq(0).all() and found[3].ne(0).any()


@pytest.mark.parametrize("order", [1, 2])
def test_a_diverging_backward_solve_raises(order: int) -> None:
    w = torch.tensor(-3.0, dtype=DOUBLE, requires_grad=True)
    x = fpi.fixed_point(
        lambda x, w: w * x + 4,
        torch.zeros(1, 1, dtype=DOUBLE),
        w,
        solver=fpi.Picard(damping=0.25),
        adjoint=fpi.BackwardFPI(fpi.Picard(max_iter=2000)),
    )
    with pytest.raises(fpi.FixedPointError, match=r"Picard \(backward solve\): .* the iteration diverges"):
        torch.autograd.grad(x.sum(), w, create_graph=order == 2)


def test_a_capped_backward_solve_follows_its_own_policy(z: Tensor) -> None:
    torch.manual_seed(0)
    for policy, expected in (("warn", fpi.ConvergenceWarning), ("raise", fpi.FixedPointError)):
        layer = make_nn(adjoint=fpi.BackwardFPI(fpi.Picard(max_iter=2, on_failure=policy)))
        value = layer(z).sum()
        said = {"match": r"Picard \(backward solve\): 0/5 samples"}
        with pytest.warns(expected, **said) if policy == "warn" else pytest.raises(expected, **said):
            value.backward()
