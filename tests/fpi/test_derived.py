"""Forward mode, torch.func and vmap over a node: every mixture of modes gives the derivatives of the unrolled solve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap

import fpi
from tests.fpi.problems import DOUBLE, EXACT, contraction, make_gd, make_nn, picard, relative_error

FORWARD = {name: adjoint for name, adjoint in EXACT.items() if name != "Dense"}  # Dense has reverse mode only


def scalar(layer: fpi.FPILayer) -> Callable[[Tensor], Tensor]:
    return lambda z: layer(z).sin().sum()


@pytest.fixture
def small(z: Tensor) -> Tensor:
    return z.detach()[:2, :2]


@pytest.mark.parametrize("adjoint", FORWARD.values(), ids=FORWARD)
def test_every_mixture_of_modes(make_layer, adjoint: fpi.Adjoint, small: Tensor) -> None:
    layer = make_layer(2, 2, 3, adjoint=fpi.Unrolled())
    f = scalar(layer)
    jacobian, hessian, third = jacrev(layer)(small), jacrev(jacrev(f))(small), jacrev(jacrev(jacrev(f)))(small)
    assert min(hessian.norm(), third.norm()) > 1e-3
    layer.adjoint = adjoint
    assert relative_error(jacfwd(layer)(small), jacobian) < 1e-9
    assert relative_error(jacrev(layer)(small), jacobian) < 1e-9
    for twice in (jacrev(jacrev(f)), jacfwd(jacrev(f)), jacrev(jacfwd(f))):
        assert relative_error(twice(small), hessian) < 1e-9
    for thrice in (jacrev(jacrev(jacrev(f))), jacfwd(jacrev(jacrev(f))), jacrev(jacfwd(jacrev(f)))):
        assert relative_error(thrice(small), third) < 1e-9


@pytest.mark.parametrize("adjoint", FORWARD.values(), ids=FORWARD)
@pytest.mark.parametrize("make", [make_nn, make_gd])
def test_forward_mode_by_finite_differences(make, adjoint: fpi.Adjoint) -> None:
    """Dual numbers without torch.func, in z and every parameter, alone and over reverse mode."""
    torch.manual_seed(0)
    layer = make(2, 2, 2, adjoint=adjoint)
    names = [name for name, _ in layer.named_parameters()]

    def f(z: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (z,))

    z = torch.randn(2, 2, dtype=DOUBLE, requires_grad=True)
    inputs = (z, *[p.detach().clone().requires_grad_() for p in layer.parameters()])
    assert gradcheck(f, inputs, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(f, inputs, check_fwd_over_rev=True, fast_mode=True)


def test_forward_mode_of_a_pytree_and_of_mixed_arguments() -> None:
    """Tangents for some of the tensors only; integers and constants beside them; none for x0."""
    a, index = torch.rand(3, 2, dtype=DOUBLE), torch.tensor([1, 0])

    def g(x: tuple[Tensor, Tensor], a: Tensor, index: Tensor, b: Tensor, power: int) -> tuple[Tensor, Tensor]:
        return 0.4 * torch.sin(x[1][:, index]) + a**power, 0.3 * x[0].cos() * b

    def f(a: Tensor, x0: Tensor) -> Tensor:
        x = fpi.fixed_point(g, (x0, x0), a, index, torch.ones_like(a), 2, solver=picard())
        return torch.cat(x, 1)

    x0 = torch.zeros_like(a)
    tangent = jvp(f, (a, x0), (torch.ones_like(a), torch.ones_like(a)))[1]
    eps = 1e-6
    difference = (f(a + eps, x0) - f(a - eps, x0)) / (2 * eps)
    torch.testing.assert_close(tangent, difference, rtol=1e-7, atol=1e-8)


def test_forward_over_forward_is_refused(small: Tensor) -> None:
    layer = make_nn(2, 2, 3)
    with pytest.raises(NotImplementedError, match=r"jacfwd\(jacrev"):
        jacfwd(jacfwd(layer))(small)
    with pytest.raises(NotImplementedError, match="forward mode over forward mode"):
        jacfwd(jacrev(jacfwd(scalar(layer))))(small)


@pytest.mark.parametrize("adjoint", [fpi.JacobianFree(), fpi.Neumann(3), fpi.Dense()])
def test_an_adjoint_without_forward_mode_is_named(adjoint: fpi.Adjoint, small: Tensor) -> None:
    with pytest.raises(NotImplementedError, match=f"{type(adjoint).__name__} has no forward mode"):
        jacfwd(make_nn(2, 2, 3, adjoint=adjoint))(small)


def test_batched_gradients_of_autograd_are_refused(z: Tensor) -> None:
    layer = make_nn()
    with pytest.raises(NotImplementedError, match="is_grads_batched"):
        x = layer(z)
        torch.autograd.grad(x, z, torch.ones(2, *x.shape, dtype=DOUBLE), is_grads_batched=True)
    with pytest.raises(NotImplementedError, match="vectorize"):
        torch.autograd.functional.jacobian(layer, z, vectorize=True)


def test_hidden_tensors_are_refused_under_transforms() -> None:
    w, b = contraction(3, 0.5), torch.ones(2, 3, dtype=DOUBLE)

    def f(w: Tensor) -> Tensor:
        return fpi.fixed_point(lambda x: torch.tanh(x @ w) + b, torch.zeros_like(b)).sum()

    def outer(w: Tensor) -> Tensor:
        """w is followed by the outer transform, the inner one follows another tensor."""
        h = grad(lambda b: fpi.fixed_point(lambda x, b: torch.tanh(x @ w) + b, torch.zeros_like(b), b).sum())
        return h(b).sum()

    for attempt in (lambda: grad(f)(w), lambda: jvp(f, (w,), (w,)), lambda: grad(outer)(w)):
        with pytest.raises(ValueError, match="Pass them as arguments"):
            attempt()


def test_vmap_solves_all_entries_at_once(make_layer, z: Tensor) -> None:
    layer = make_layer()
    torch.testing.assert_close(vmap(lambda zi: layer(zi[None])[0])(z), layer(z))
    assert layer.info.iterations.shape == z.shape[:1]
    nested = vmap(vmap(lambda zi: layer(zi[None])[0]))(torch.stack([z, 2 * z]))
    torch.testing.assert_close(nested, torch.stack([layer(z), layer(2 * z)]))


@pytest.mark.parametrize("in_dims", [(0, None), (None, 1), (0, 1)])
def test_vmap_over_any_argument_and_dimension(in_dims: tuple[int | None, ...]) -> None:
    torch.manual_seed(0)
    a = torch.stack([contraction(2, 0.5, seed) for seed in range(3)]) if in_dims[0] == 0 else contraction(2, 0.5)
    b = torch.randn(2, 3, 2, dtype=DOUBLE) if in_dims[1] == 1 else torch.randn(2, 2, dtype=DOUBLE)

    def f(a: Tensor, b: Tensor) -> Tensor:
        return fpi.fixed_point(lambda x, a, b: torch.tanh(x @ a) + b, torch.zeros_like(b), a, b, solver=picard())

    expected = [f(a[i] if in_dims[0] == 0 else a, b[:, i] if in_dims[1] == 1 else b) for i in range(3)]
    torch.testing.assert_close(vmap(f, in_dims)(a, b), torch.stack(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("adjoint", EXACT.values(), ids=EXACT)
def test_per_sample_gradients_sum_to_the_gradient(make_layer, adjoint: fpi.Adjoint, z: Tensor) -> None:
    layer, z = make_layer(adjoint=adjoint), z.detach()

    def loss(parameters: dict[str, Tensor], zi: Tensor) -> Tensor:
        return functional_call(layer, parameters, (zi[None],)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(dict(layer.named_parameters()), z)
    total = torch.autograd.grad(layer(z).square().sum(), list(layer.parameters()))
    for found, expected in zip(each.values(), total, strict=True):
        torch.testing.assert_close(found.sum(0), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("adjoint", FORWARD.values(), ids=FORWARD)
def test_vmap_of_jvp_and_of_second_derivatives(adjoint: fpi.Adjoint, z: Tensor) -> None:
    torch.manual_seed(0)
    layer, z = make_nn(adjoint=adjoint), z.detach()

    def one(zi: Tensor) -> Tensor:
        return layer(zi[None])[0]

    def value(zi: Tensor) -> Tensor:
        return one(zi).sin().sum()

    u = torch.randn_like(z)
    pushed = vmap(lambda zi, ui: jvp(one, (zi,), (ui,))[1])(z, u)
    torch.testing.assert_close(pushed, jvp(layer, (z,), (u,))[1], rtol=1e-9, atol=1e-11)
    hessians = vmap(jacfwd(grad(value)))(z)
    expected = torch.stack([torch.autograd.functional.hessian(value, zi) for zi in z])
    torch.testing.assert_close(hessians, expected, rtol=1e-9, atol=1e-11)
