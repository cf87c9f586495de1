"""Gradients of the node against dense linear algebra (eq. 4.7), finite differences, and the unrolled iteration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fpi
from tests.fpi.problems import TIGHT, make_nn, picard
from tests.memory import peak_bytes


def dense_gradients(layer: fpi.FPILayer, x: Tensor, z: Tensor, v: Tensor) -> list[Tensor]:
    """(4.7) sample by sample with explicit Jacobians: gradients with respect to z and every parameter."""
    names, parameters = zip(*layer.g.named_parameters(), strict=True)
    total = [torch.zeros_like(p) for p in parameters]
    dz = torch.zeros_like(z)
    for i in range(x.shape[0]):

        def g(xi: Tensor, zi: Tensor, *theta: Tensor) -> Tensor:
            def call(module: fpi.FPILayer, xi: Tensor, zi: Tensor) -> Tensor:
                inject = getattr(module.g, "inject", lambda z: z)
                return module.g(xi[None], inject(zi[None]))[0]

            wrapper = _Call(layer, call)
            return torch.func.functional_call(
                wrapper, dict(zip((f"layer.g.{n}" for n in names), theta, strict=True)), (xi, zi)
            )

        jacobians = torch.func.jacrev(g, argnums=tuple(range(2 + len(names))))(x[i], z[i], *parameters)
        c = torch.linalg.solve((torch.eye(x.shape[1]).to(x) - jacobians[0]).T, v[i])
        dz[i] = jacobians[1].T @ c
        for k in range(len(names)):
            total[k] += torch.tensordot(c, jacobians[2 + k], dims=1)
    return [dz, *total]


class _Call(nn.Module):
    def __init__(self, layer: fpi.FPILayer, call) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, *args: Tensor) -> Tensor:
        return self.call(self.layer, *args)


def test_equals_the_dense_implicit_gradient(make_layer, z: Tensor) -> None:
    layer = make_layer()
    x = layer(z)
    v = torch.randn_like(x)
    got = torch.autograd.grad(x, [z, *layer.parameters()], v)
    for a, b in zip(got, dense_gradients(layer, x.detach(), z.detach(), v), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert layer.info.backward.converged.all()


def test_defaults_are_exact_in_float64(z: Tensor) -> None:
    """No option given: gradients equal dense algebra, and finite differences of the solution are meaningful."""
    torch.manual_seed(0)
    layer = make_nn(solver=None, adjoint=None)
    x = layer(z)
    v = torch.randn_like(x)
    got = torch.autograd.grad(x, [z, *layer.parameters()], v)
    for a, b in zip(got, dense_gradients(layer, x.detach(), z.detach(), v), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
    assert torch.autograd.gradgradcheck(lambda z, *_: layer(z), (z, *layer.parameters()), fast_mode=True)


def test_third_order_equals_the_unrolled_iteration(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()

    def third(adjoint: fpi.Adjoint) -> Tensor:
        layer.adjoint = adjoint
        value = layer(z).square().sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(value, z, create_graph=True)
            value = gradient.sin().sum()
        return gradient

    torch.testing.assert_close(third(fpi.BackwardFPI(picard())), third(fpi.Unrolled()), rtol=1e-9, atol=1e-11)


def test_partial_derivatives_stay_partial_when_z_depends_on_the_parameters() -> None:
    torch.manual_seed(0)
    layer = make_nn()
    weight = layer.g.net[0].weight
    z = torch.randn(5, 3, dtype=torch.float64)

    def loss() -> Tensor:
        return layer(z * weight[:5, :3].sin()).square().sum()

    (implicit,) = torch.autograd.grad(loss(), weight)
    layer.adjoint = fpi.Unrolled()
    (unrolled,) = torch.autograd.grad(loss(), weight)
    torch.testing.assert_close(implicit, unrolled, rtol=1e-10, atol=1e-12)


def test_a_layer_used_twice_gets_both_gradients(make_layer, z: Tensor) -> None:
    layer = make_layer()
    both = torch.autograd.grad(layer(z).sum() + layer(2 * z).sum(), list(layer.parameters()))
    one = torch.autograd.grad(layer(z).sum(), list(layer.parameters()))
    two = torch.autograd.grad(layer(2 * z).sum(), list(layer.parameters()))
    for total, a, b in zip(both, one, two, strict=True):
        torch.testing.assert_close(total, a + b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_gradient_error_does_not_depend_on_the_loss_scale(scale: float, z: Tensor) -> None:
    torch.manual_seed(0)
    loose = make_nn(adjoint=fpi.BackwardFPI())
    exact = make_nn(adjoint=fpi.Dense())
    exact.load_state_dict(loose.state_dict())
    (a,) = torch.autograd.grad(scale * loose(z).sum(), z)
    (b,) = torch.autograd.grad(scale * exact(z).sum(), z)
    assert (a - b).norm() / b.norm() < 1e-5


def test_hidden_tensors_are_refused() -> None:
    w = torch.randn(3, 3, requires_grad=True)
    with pytest.raises(ValueError, match="Pass them as arguments"):
        fpi.fixed_point(lambda x: 0.1 * x @ w, torch.zeros(2, 3))


def test_wrong_output_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 3\).*got \(2, 4\)"):
        fpi.fixed_point(lambda x: torch.zeros(2, 4), torch.zeros(2, 3))


def test_non_float_state_is_refused() -> None:
    with pytest.raises(TypeError, match="floating-point"):
        fpi.fixed_point(lambda x: x, torch.zeros(2, 3, dtype=torch.long))


def test_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError):
        fpi.fixed_point(lambda x: x, torch.zeros(2, 3), max_iter=3)  # type: ignore[call-overload]


def test_memory_does_not_grow_with_the_iterations() -> None:
    """Live tensors (in bytes) at the end of forward and during backward, 1,000 iterations against 10."""

    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.eye(64))

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return 0.999 * torch.tanh(x @ self.w) + z

    def peak(iterations: int) -> int:
        criterion = fpi.Relative(0.0, scope="batch")
        solver = fpi.Picard(criterion=criterion, max_iter=iterations, on_failure="ignore")
        layer = fpi.FPILayer(Slow(), solver=solver, adjoint=fpi.BackwardFPI(solver))
        return peak_bytes(lambda: layer(torch.randn(256, 64)).sum().backward())

    peak(2)
    assert peak(1000) <= 1.05 * peak(10)


def test_deepcopy_and_state_dict(make_layer, z: Tensor) -> None:
    import copy

    layer = make_layer()
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    assert not torch.allclose(layer(z), twin(z))
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(z), twin(z))


def test_functional_call_differentiates_the_substituted_parameters(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    theta = {name: p.detach().clone().requires_grad_() for name, p in layer.named_parameters()}
    substituted = torch.autograd.grad(torch.func.functional_call(layer, theta, (z,)).sum(), list(theta.values()))
    own = torch.autograd.grad(layer(z).sum(), list(layer.parameters()))
    for a, b in zip(substituted, own, strict=True):
        torch.testing.assert_close(a, b)


def test_autocast_keeps_the_state_in_float32() -> None:
    layer = fpi.FPI_NN(
        nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 5)), solver=fpi.Picard(criterion=fpi.Relative(1e-4))
    )
    fpi.contraction.scale_parameters_(layer, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = layer(torch.randn(4, 3))
    assert x.dtype == torch.float32
    x.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_tight_criterion_of_the_fixture_is_met(make_layer, z: Tensor) -> None:
    layer = make_layer()
    layer(z)
    assert layer.info.converged.all() and (layer.info.residual <= TIGHT.tol).all()
