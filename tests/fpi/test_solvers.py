"""All solvers find the same fixed points; freezing, damping, failure policies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import TIGHT, make_gd, make_nn


@pytest.mark.parametrize(
    "solver",
    [
        fpi.Broyden(criterion=fpi.Relative(1e-26)),
        fpi.Broyden(criterion=fpi.Relative(1e-26), memory=2),
        fpi.Picard(criterion=TIGHT, damping=0.5, max_iter=2000),
        fpi.Picard(criterion=TIGHT, check_every=7),
        fpi.Anderson(criterion=fpi.Relative(1e-26)),
        fpi.Anderson(criterion=fpi.Relative(1e-26), memory=1),
        fpi.LBFGS(criterion=fpi.Relative(1e-26)),
    ],
    ids=["broyden", "broyden-2", "damped", "check_every", "anderson", "anderson-1", "lbfgs"],
)
def test_same_fixed_point_as_picard(solver: fpi.Solver, z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_gd()
    expected = layer(z)
    layer.solver = solver
    torch.testing.assert_close(layer(z), expected, rtol=1e-10, atol=1e-11)
    assert layer.info.converged.all()


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
