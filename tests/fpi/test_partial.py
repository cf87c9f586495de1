"""P and H (eqs. 4.14, 4.15): partial even between dependent nodes, and differentiable again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import make_nn, picard


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

    def second(x: Tensor) -> Tensor:
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


def backward_layer(g, x: Tensor, z: Tensor, theta: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Sections 4.3 and 4.4 in the thesis' own operators: (∇_z L, ∇_θ L) at the fixed point x for ∇L = v."""
    c = v
    for _ in range(400):  # c_{n+1} = P(x; H(c_n; g)) + ∇L, (4.10) and (4.12)
        c = fpi.partial(lambda x, c=c: fpi.inner(c, lambda x: g(x, z, theta))(x), x) + v
    return fpi.partial(lambda z, theta: fpi.inner(c, g)(x, z, theta), z, theta)  # (4.11) and (4.13)


def test_the_backward_layer_in_these_operators_is_backward_fpi() -> None:
    """Its first derivatives, and those of P(P(·)): the backward layer of the backward layer."""
    torch.manual_seed(0)
    theta = (0.3 * torch.randn(3, 3, dtype=torch.float64)).requires_grad_()
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 3, dtype=torch.float64)

    def g(x: Tensor, z: Tensor, theta: Tensor) -> Tensor:
        return torch.tanh(x @ theta + z)

    x = fpi.fixed_point(g, torch.zeros_like(z), z, theta, solver=picard(), adjoint=fpi.BackwardFPI(picard()))
    first = torch.autograd.grad(x, [z, theta], v, create_graph=True)
    by_hand = backward_layer(g, x, z, theta, v)
    for a, b in zip(first, by_hand, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)

    second = torch.autograd.grad(first[1].square().sum(), [z, theta], retain_graph=True)
    # by_hand is attached to x, whose own derivative is the layer's, and to z and θ: P inside of P
    twice = torch.autograd.grad(by_hand[1].square().sum(), [z, theta])
    for a, b in zip(second, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_the_same_second_derivative_by_nested_partials() -> None:
    """P(z; Σ P(z; r)²) with the fixed point inside r: P(P(·)) through the node equals autograd twice."""
    torch.manual_seed(0)
    layer = make_nn(2, 2, 3)
    z = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)

    def r(z: Tensor) -> Tensor:
        return layer(z).sin().sum()

    nested = fpi.partial(lambda z: fpi.partial(r, z).square().sum(), z)
    (first,) = torch.autograd.grad(r(z), z, create_graph=True)
    torch.testing.assert_close(nested, torch.autograd.grad(first.square().sum(), z)[0], rtol=1e-11, atol=1e-13)
    thrice = fpi.partial(lambda z: fpi.partial(lambda z: fpi.partial(r, z).square().sum(), z).sum(), z)
    torch.testing.assert_close(thrice, torch.autograd.grad(nested.sum(), z)[0], rtol=1e-10, atol=1e-12)
    assert thrice.abs().max() > 1e-3


def test_a_pytree_of_weights_and_of_results() -> None:
    x = torch.tensor([0.3, 0.7], dtype=torch.float64)
    h = fpi.inner({"a": x, "b": 2 * x}, lambda x: {"a": x.sin(), "b": x.square()})
    torch.testing.assert_close(h(x), (x * x.sin()).sum() + 2 * (x * x.square()).sum())
    torch.testing.assert_close(fpi.partial(h, x), x * x.cos() + 4 * x * x)
