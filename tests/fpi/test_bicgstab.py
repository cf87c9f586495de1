"""BiCGStab against dense algebra: contraction or not, per sample, through breakdowns, to any order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.linear_solves import backward, easy_samples_leave_and_the_hard_one_ends_exact
from tests.fpi.problems import DOUBLE, NEARLY, contraction, make_gd, make_nn

EXACT = fpi.BackwardFPI(fpi.BiCGStab(criterion=fpi.Relative(1e-24)))


@pytest.mark.parametrize("size", [0.5, 0.99, 3.0])
def test_equals_dense_algebra_and_ends_within_the_dimension(size: float) -> None:
    a, v = contraction(7, size), torch.randn(5, 7, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    c, info = backward(a, v, EXACT)
    torch.testing.assert_close(c, v @ torch.linalg.inv(torch.eye(7, dtype=DOUBLE) - a), rtol=1e-8, atol=1e-9)
    assert info.converged.all() and info.iterations.max() <= 7 + 3


def test_fewer_products_than_picard_where_g_contracts_slowly() -> None:
    q, _ = torch.linalg.qr(torch.randn(40, 40, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)))
    a = q @ torch.diag(torch.linspace(-0.5, 0.99, 40, dtype=DOUBLE)) @ q.T
    v = torch.ones(3, 40, dtype=DOUBLE)
    fast, slow = (
        backward(a, v, fpi.BackwardFPI(kind(criterion=NEARLY, max_iter=5000)))[1] for kind in (fpi.BiCGStab, fpi.Picard)
    )
    assert 10 * fast.evaluations < slow.evaluations


def test_where_it_stagnates_it_says_so() -> None:
    """I − M skew-symmetric: every residual is orthogonal to its product, where the textbook method divides by 0."""
    skew = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=DOUBLE)
    v = torch.tensor([[1.0, 0.0], [0.3, -2.0]], dtype=DOUBLE)
    with pytest.warns(fpi.ConvergenceWarning, match=r"BiCGStab \(backward solve\): 0/2"):
        c, _ = backward(torch.eye(2, dtype=DOUBLE) - skew, v, fpi.BackwardFPI(fpi.BiCGStab(max_iter=20)))
    assert torch.isfinite(c).all()


def test_a_sample_that_lost_its_shadow_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    a, v = contraction(7, 0.9), torch.randn(5, 7, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    undisturbed = backward(a, v, EXACT)[1].iterations.max()
    monkeypatch.setattr("fpi.solvers.bicgstab._LOST", 0.9)  # far more often than rounding asks for
    c, info = backward(a, v, EXACT)
    torch.testing.assert_close(c, v @ torch.linalg.inv(torch.eye(7, dtype=DOUBLE) - a), rtol=1e-8, atol=1e-9)
    assert info.iterations.max() > undisturbed


def test_easy_samples_leave_and_the_hard_one_ends_exact() -> None:
    easy_samples_leave_and_the_hard_one_ends_exact(contraction(40, 0.95), EXACT)


@pytest.mark.parametrize("make", [make_nn, make_gd], ids=["FPI_NN", "FPI_GD"])
def test_second_derivatives(make, z: Tensor) -> None:
    layer = make(solver=fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=2000), adjoint=EXACT)
    z = z.clone().requires_grad_()
    assert torch.autograd.gradcheck(layer, (z,), rtol=1e-5)
    assert torch.autograd.gradgradcheck(layer, (z,), rtol=1e-5)


def test_forward_mode(z: Tensor) -> None:
    layers = [
        make_nn(solver=fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=2000), adjoint=adjoint)
        for adjoint in (EXACT, fpi.NormalCG(criterion=fpi.Relative(1e-24)))
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    tangents = [torch.func.jvp(layer, (z,), (torch.ones_like(z),))[1] for layer in layers]
    torch.testing.assert_close(tangents[0], tangents[1], rtol=1e-8, atol=1e-10)


def test_a_zero_gradient_is_handed_on() -> None:
    c, info = backward(contraction(4, 0.9), torch.zeros(2, 4, dtype=DOUBLE), fpi.BackwardFPI(fpi.BiCGStab()))
    assert c.eq(0).all() and info.converged.all()


def test_it_needs_an_affine_step() -> None:
    with pytest.raises(ValueError, match=r"BackwardFPI\(BiCGStab\(\)\)"):
        fpi.fixed_point(torch.cos, torch.zeros(1, 1), solver=fpi.BiCGStab())
