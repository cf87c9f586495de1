"""Maps that must not be cut into samples are noticed and solved whole."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import fpi
from tests.fpi.problems import CUT_SOLVERS, DOUBLE, interleaved, one_hard, turning

pytestmark = pytest.mark.filterwarnings("ignore:g gives other values")  # the backward solve says it again


class Mixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8, affine=False).double()

    def forward(self, x: Tensor, rate: Tensor, z: Tensor) -> Tensor:
        return turning(x, rate, z) + 0.05 * rate * self.norm(x)


class Holding(nn.Module):
    """Holds what should be an argument: a tensor with one entry a sample."""

    def __init__(self, rate: Tensor) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, rate: Tensor, z: Tensor) -> Tensor:
        return turning(x, self.rate, z)


@pytest.mark.parametrize("solver", CUT_SOLVERS.values(), ids=CUT_SOLVERS)
@pytest.mark.parametrize("kind", ["mixing", "holding", "holding-one"])
def test_a_map_that_cannot_be_cut_is_solved_whole(solver: fpi.Solver, kind: str) -> None:
    rate, z = one_hard() if kind != "holding-one" else interleaved()
    g = Mixing() if kind == "mixing" else Holding(rate)
    with pytest.warns(fpi.ConvergenceWarning, match="part of the batch"):
        x, info = fpi.fixed_point(
            g,
            torch.zeros_like(z),
            rate,
            z,
            solver=solver,
            adjoint=fpi.BackwardFPI(solver),
            per_sample=True,
            return_info=True,
        )
    (dz,) = torch.autograd.grad(x.sum(), z)
    whole = replace(solver, compact=False)
    y = fpi.fixed_point(g, torch.zeros_like(z), rate, z, solver=whole, adjoint=fpi.BackwardFPI(whole))
    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(dz, torch.autograd.grad(y.sum(), z)[0], rtol=1e-12, atol=1e-12)
    assert info.sample_evaluations > info.evaluations * 23  # one attempt for a part


def test_only_the_backward_solve_meets_a_map_that_cannot_be_cut() -> None:
    """Started at its solution, the forward solve is over before there is anything to cut."""
    rate, z = one_hard()
    for g in (Mixing(), Holding(rate)):
        solver = CUT_SOLVERS["picard"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x0 = fpi.fixed_point(g, torch.zeros_like(z), rate, z, solver=replace(solver, compact=False)).detach()
            x0 = fpi.fixed_point(g, x0, rate, z, solver=replace(solver, compact=False)).detach()
        x = fpi.fixed_point(g, x0, rate, z, solver=solver, adjoint=fpi.BackwardFPI(solver), per_sample=True)
        with pytest.warns(fpi.ConvergenceWarning, match="part of the batch"):
            x.sum().backward()


def test_per_sample_is_a_promise_of_the_caller() -> None:
    """Without it, tensors of the batch's size are taken to belong to the map and nothing is cut."""
    rate, z = one_hard()
    solver = CUT_SOLVERS["picard"]
    x, info = fpi.fixed_point(turning, torch.zeros_like(z), rate, z, solver=solver, return_info=True)
    assert info.sample_evaluations == info.evaluations * 24
    y, cut = fpi.fixed_point(turning, torch.zeros_like(z), rate, z, solver=solver, per_sample=True, return_info=True)
    torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)
    assert cut.sample_evaluations < info.sample_evaluations


def test_a_matrix_of_the_batchs_size_is_noticed() -> None:
    """per_sample=True with a shared matrix whose first dimension happens to be the batch: solved whole, not wrongly."""
    w = 0.3 * torch.eye(4, dtype=DOUBLE)
    rate = torch.tensor([[0.1], [0.1], [0.1], [0.97]], dtype=DOUBLE)
    solver = CUT_SOLVERS["picard"]

    def g(x: Tensor, rate: Tensor, w: Tensor) -> Tensor:
        return rate * torch.cos(x @ w) + 1

    with pytest.warns(fpi.ConvergenceWarning, match="part of the batch"):
        x = fpi.fixed_point(g, torch.zeros(4, 4, dtype=DOUBLE), rate, w, solver=solver, per_sample=True)
    torch.testing.assert_close(x, fpi.fixed_point(g, torch.zeros(4, 4, dtype=DOUBLE), rate, w, solver=solver))
