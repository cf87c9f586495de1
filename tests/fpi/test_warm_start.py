"""Warm starts of the forward solve (x0) and of the backward solve (c0)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import CUT_SOLVERS, DOUBLE, EXACT, make_gd, make_nn, one_hard, picard, spacing, turning

ITERATIVE = {name: adjoint for name, adjoint in EXACT.items() if name != "Dense"}


@pytest.mark.parametrize("solver", CUT_SOLVERS.values(), ids=CUT_SOLVERS)
def test_the_old_solution_is_accepted_at_the_first_check(solver: fpi.Solver) -> None:
    rate, z = one_hard()
    options = {"solver": solver, "per_sample": True, "return_info": True}
    with torch.no_grad():
        x, cold = fpi.fixed_point(turning, torch.zeros_like(z), rate, z, **options)
        again, warm = fpi.fixed_point(turning, x, rate, z, **options)
    assert warm.evaluations == spacing(solver) < cold.evaluations and warm.converged.all()
    torch.testing.assert_close(again, x, rtol=1e-8, atol=1e-9)


def test_lbfgs_accepts_its_old_solution(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_gd(solver=fpi.LBFGS())
    x = layer(z).detach()
    kept = x.clone()
    again = layer(z, x)
    assert layer.info.evaluations == 1
    again.detach().add_(1)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("adjoint", ITERATIVE.values(), ids=ITERATIVE)
def test_the_old_cotangent_ends_the_backward_solve_at_once(make_layer, adjoint: fpi.Adjoint, z: Tensor) -> None:
    layer = make_layer(adjoint=adjoint)

    def gradient(c0: Tensor | None) -> tuple[Tensor, fpi.SolveInfo]:
        (found,) = torch.autograd.grad(layer(z, c0=c0).square().sum(), z)
        return found, layer.info

    cold, info = gradient(None)
    warm, again = gradient(info.cotangent)
    torch.testing.assert_close(warm, cold, rtol=1e-10, atol=1e-12)
    assert info.backward.evaluations >= 4 and again.backward.evaluations <= 2
    far, other = gradient(torch.randn_like(info.cotangent))  # any start leads to the same gradient
    torch.testing.assert_close(far, cold, rtol=1e-9, atol=1e-11)
    assert other.backward.evaluations > 2


def test_the_cotangent_of_a_pytree() -> None:
    a = torch.rand(3, 2, dtype=DOUBLE, requires_grad=True)
    x0 = {"u": torch.zeros(3, 2, dtype=DOUBLE), "v": torch.zeros(3, 2, 1, dtype=DOUBLE)}

    def g(x: dict[str, Tensor], a: Tensor) -> dict[str, Tensor]:
        return {"u": 0.4 * torch.sin(x["v"][:, :, 0]) + a, "v": (0.3 * x["u"].cos() * a)[:, :, None]}

    def solve(c0: object) -> tuple[Tensor, fpi.SolveInfo]:
        options = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard()), "return_info": True}
        x, info = fpi.fixed_point(g, x0, a, c0=c0, **options)
        return torch.autograd.grad(x["u"].square().sum() + x["v"].sum(), a)[0], info

    cold, info = solve(None)
    assert {name: c.shape for name, c in info.cotangent.items()} == {name: x.shape for name, x in x0.items()}
    warm, again = solve(info.cotangent)
    torch.testing.assert_close(warm, cold, rtol=1e-12, atol=1e-13)
    assert again.backward.evaluations == 1
    with pytest.raises(ValueError, match="structure and shapes of x0"):
        solve({"u": x0["u"]})


def test_second_derivatives_with_a_warm_start(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()

    def second(c0: Tensor | None) -> Tensor:
        (first,) = torch.autograd.grad(layer(z, c0=c0).sin().sum(), z, create_graph=True)
        return torch.autograd.grad(first.square().sum(), z)[0]

    torch.testing.assert_close(second(torch.randn(5, 4, dtype=DOUBLE)), second(None), rtol=1e-10, atol=1e-12)


def test_a_wrong_c0_is_refused(z: Tensor) -> None:
    layer = make_nn()
    for wrong in (torch.zeros(5, 3, dtype=DOUBLE), torch.zeros(4, 4, dtype=DOUBLE), [torch.zeros(5, 4, dtype=DOUBLE)]):
        with pytest.raises(ValueError, match="c0 must have the structure and shapes of x0"):
            layer(z, c0=wrong)


def test_a_solution_of_inference_mode_starts_training(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    with torch.inference_mode():
        x0 = layer(z.detach())
    x = layer(z, x0)
    assert layer.info.evaluations == 1
    torch.testing.assert_close(
        torch.autograd.grad(x.sum(), z)[0], torch.autograd.grad(layer(z).sum(), z)[0], rtol=1e-10, atol=1e-12
    )
