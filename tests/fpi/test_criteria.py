"""(5.4) and (5.6): scopes, scales, precisions, the ends of the number range."""

from __future__ import annotations

import pytest
import torch

import fpi
from fpi.criteria import norm
from tests.fpi.problems import DOUBLE, contraction


def test_values_of_both_scopes() -> None:
    x = [torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=DOUBLE), torch.tensor([12.0, 0.0], dtype=DOUBLE)]
    change = [torch.ones_like(x[0]), -torch.ones_like(x[1])]
    torch.testing.assert_close(fpi.Absolute(1.0).residual(change, x), torch.tensor([3.0, 3.0], dtype=DOUBLE))
    torch.testing.assert_close(fpi.Absolute(1.0, scope="batch").residual(change, x), torch.tensor([6.0], dtype=DOUBLE))
    torch.testing.assert_close(fpi.Relative().residual(change, x), torch.tensor([3 / 169, 3 / 4], dtype=DOUBLE))
    torch.testing.assert_close(fpi.Relative(scope="batch").residual(change, x), torch.tensor([6 / 173], dtype=DOUBLE))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_a_start_at_zero_is_finite_and_far_from_converged_at_every_scale(dtype: torch.dtype, size: float) -> None:
    b = torch.full((2, 3), size, dtype=dtype)
    x, info = fpi.fixed_point(lambda x, b: 0.5 * x + b, torch.zeros_like(b), b, return_info=True)
    torch.testing.assert_close(x, 2 * b, rtol=1e-5, atol=0)
    assert 15 < info.evaluations < 60


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-8, 1e-14])
def test_the_backward_solve_is_as_exact_for_a_tiny_loss(scale: float) -> None:
    """Mean losses, gradient accumulation: an absolute floor would end the iteration at its start."""
    a, b = contraction(4, 0.9), torch.ones(3, 4, dtype=DOUBLE, requires_grad=True)
    x, info = fpi.fixed_point(lambda x, a, b: x @ a.T + b, torch.zeros_like(b), a, b, return_info=True)
    v = torch.linspace(-1, 1, 12, dtype=DOUBLE).reshape(3, 4)
    (found,) = torch.autograd.grad(x, b, scale * v)
    exact = v @ torch.linalg.inv(torch.eye(4, dtype=DOUBLE) - a)
    torch.testing.assert_close(found / scale, exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_fixed_point_at_zero_is_reached(dtype: torch.dtype) -> None:
    x, info = fpi.fixed_point(lambda x: 0.5 * x, torch.ones(2, 3, dtype=dtype), return_info=True)
    assert info.converged.all() and x.abs().max() < 1e-15
    assert info.evaluations < 150


def test_half_precision_sums_in_single_precision() -> None:
    x = torch.full((2, 1000), 100.0, dtype=torch.float16)
    assert norm([x], "sample").dtype == torch.float32
    torch.testing.assert_close(norm([x], "sample").square(), torch.full((2,), 1e7))
    y, info = fpi.fixed_point(lambda x, b: 0.5 * x + b, torch.zeros_like(x), x, return_info=True)
    assert y.dtype == torch.float16 and info.converged.all()
    torch.testing.assert_close(y, 2 * x, rtol=1e-2, atol=0)


@pytest.mark.parametrize("bad", [{"tol": -1.0}, {"tol": float("nan")}, {"tol": 1.0, "scope": "all"}])
@pytest.mark.parametrize("kind", [fpi.Relative, fpi.Absolute])
def test_bad_options_are_named(kind: type, bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="scope" if "scope" in bad else "tol"):
        kind(**bad)
