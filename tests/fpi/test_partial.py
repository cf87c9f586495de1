"""P and H (eqs. 4.14, 4.15): partial even between dependent nodes, and differentiable again."""

from __future__ import annotations

import pytest
import torch

import fpi


def test_partial_ignores_the_dependence_between_arguments() -> None:
    a = torch.tensor([2.0, 3.0], requires_grad=True)
    b = a**2
    da, db = fpi.partial(lambda a, b: (a * b).sum(), a, b)
    torch.testing.assert_close(da, b)
    torch.testing.assert_close(db, a)
    (total,) = torch.autograd.grad(da.sum(), a)  # b is attached: d(a²)/da
    torch.testing.assert_close(total, 2 * a)


def test_nested() -> None:
    x = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)

    def second(x: torch.Tensor) -> torch.Tensor:
        return fpi.partial(lambda x: fpi.partial(lambda x: x.sin().sum(), x).sum(), x)

    torch.testing.assert_close(second(x), -x.sin())
    assert torch.autograd.gradcheck(second, (x,))


def test_inner_gives_the_vector_jacobian_product() -> None:
    torch.manual_seed(0)
    x, c = torch.randn(3, requires_grad=True), torch.randn(2)
    w = torch.randn(2, 3)
    torch.testing.assert_close(
        fpi.partial(fpi.inner(c, lambda x: torch.tanh(w @ x)), x), w.T @ (c * (1 - torch.tanh(w @ x) ** 2))
    )


def test_scalar_functions_only() -> None:
    with pytest.raises(ValueError, match="scalar"):
        fpi.partial(lambda x: x, torch.ones(2))
