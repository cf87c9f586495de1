"""Conjugate residuals against dense algebra: symmetric steps, per sample, to any order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.linear_solves import backward, easy_samples_leave_and_the_hard_one_ends_exact
from tests.fpi.problems import DOUBLE, NEARLY, contraction, make_gd

EXACT = fpi.BackwardFPI(fpi.ConjugateResidual(criterion=fpi.Relative(1e-24)))


def symmetric(low: float, high: float, dim: int = 40) -> Tensor:
    """A symmetric matrix with eigenvalues spread over [low, high]."""
    q, _ = torch.linalg.qr(torch.randn(dim, dim, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)))
    return q @ torch.diag(torch.linspace(low, high, dim, dtype=DOUBLE)) @ q.T


@pytest.mark.parametrize("low", [-0.5, -5.0])  # a contraction, and a step too long to contract
def test_equals_dense_algebra_and_ends_within_the_dimension(low: float) -> None:
    a, v = symmetric(low, 0.9, 7), torch.randn(5, 7, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    c, info = backward(a, v, EXACT)
    torch.testing.assert_close(c, v @ torch.linalg.inv(torch.eye(7, dtype=DOUBLE) - a), rtol=1e-9, atol=1e-10)
    assert info.converged.all() and info.iterations.max() <= 7 + 2
    assert info.evaluations <= info.iterations.max()  # one product an iteration


def test_fewest_products_of_all_solvers() -> None:
    a, v = symmetric(-0.5, 0.99), torch.randn(3, 40, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    kinds = (fpi.ConjugateResidual, fpi.BiCGStab, fpi.Anderson, fpi.ConjugateGradient, fpi.Picard)
    used = [backward(a, v, fpi.BackwardFPI(kind(criterion=NEARLY, max_iter=5000)))[1].evaluations for kind in kinds]
    assert used[0] == min(used) and 10 * used[0] < used[-1] and used[0] < 0.8 * used[1]


def test_without_symmetry_it_says_that_it_failed() -> None:
    skew = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=DOUBLE)
    with pytest.warns(fpi.ConvergenceWarning, match=r"ConjugateResidual \(backward solve\): 0/1"):
        c, _ = backward(
            torch.eye(2, dtype=DOUBLE) - skew,
            torch.ones(1, 2, dtype=DOUBLE),
            fpi.BackwardFPI(fpi.ConjugateResidual(max_iter=20)),
        )
    assert torch.isfinite(c).all()


def test_easy_samples_leave_and_the_hard_one_ends_exact() -> None:
    easy_samples_leave_and_the_hard_one_ends_exact(symmetric(-0.9, 0.95), EXACT)


def test_second_derivatives_of_an_energy(z: Tensor) -> None:
    layer = make_gd(solver=fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=2000), adjoint=EXACT)
    z = z.clone().requires_grad_()
    assert torch.autograd.gradcheck(layer, (z,), rtol=1e-5)
    assert torch.autograd.gradgradcheck(layer, (z,), rtol=1e-5)


def test_forward_mode(z: Tensor) -> None:
    solver = fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=2000)
    layers = [make_gd(solver=solver, adjoint=a) for a in (EXACT, fpi.NormalCG(criterion=fpi.Relative(1e-24)))]
    layers[1].load_state_dict(layers[0].state_dict())
    tangents = [torch.func.jvp(layer, (z,), (torch.ones_like(z),))[1] for layer in layers]
    torch.testing.assert_close(tangents[0], tangents[1], rtol=1e-8, atol=1e-10)


def test_a_zero_gradient_is_handed_on() -> None:
    a = contraction(4, 0.9)
    c, info = backward((a + a.T) / 4, torch.zeros(2, 4, dtype=DOUBLE), fpi.BackwardFPI(fpi.ConjugateResidual()))
    assert c.eq(0).all() and info.converged.all()


def test_it_needs_an_affine_step() -> None:
    with pytest.raises(ValueError, match=r"BackwardFPI\(ConjugateResidual\(\)\)"):
        fpi.fixed_point(torch.cos, torch.zeros(1, 1), solver=fpi.ConjugateResidual())
