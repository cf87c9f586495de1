"""Monotone operator networks: I − W ≥ m I, one solution, contraction of the splitting, gradients of dense algebra."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fpi
from tasks.classification.monotone import ConvMonotoneOperator, MonotoneOperator, transposed

M = 0.5
SHAPES = {MonotoneOperator: (12,), ConvMonotoneOperator: (3, 4, 5)}
SOLVER = fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=5000, on_failure="raise")
both = pytest.mark.parametrize("kind", SHAPES, ids=["fully connected", "convolutional"])


def make(kind: type[MonotoneOperator], scale: float = 1.0) -> MonotoneOperator:
    torch.manual_seed(0)
    operator = kind(SHAPES[kind][0], M).double()
    with torch.no_grad():
        for name, parameter in operator.named_parameters():
            if "kernel" not in name:  # a kernel's size is its scale's
                parameter.mul_(scale)
    return operator


def features(kind: type[MonotoneOperator], count: int) -> Tensor:
    return torch.randn(count, *SHAPES[kind], dtype=torch.float64)


def dense(operator: MonotoneOperator) -> Tensor:
    """I − W written out, of the flattened u."""
    shape = SHAPES[type(operator)]
    unit = torch.eye(torch.Size(shape).numel(), dtype=torch.float64)
    return operator.product(unit.reshape(-1, *shape)).flatten(1).t()


@both
@pytest.mark.parametrize("scale", [0.0, 1.0, 6.0])
def test_the_operator_is_strongly_monotone_at_every_weight(kind: type[MonotoneOperator], scale: float) -> None:
    matrix = dense(make(kind, scale)).detach()
    assert torch.linalg.eigvalsh(matrix + matrix.t()).min() / 2 >= M - 1e-12
    if not scale:
        torch.testing.assert_close(matrix, M * torch.eye(len(matrix), dtype=torch.float64))


def test_the_convolutions_are_the_ones_of_the_formula() -> None:
    operator = make(ConvMonotoneOperator, 2.0)
    a, skew = operator.kernels()
    assert torch.linalg.vector_norm(a).item() == pytest.approx(2.0)
    u, other = features(ConvMonotoneOperator, 2).split(1)
    torch.testing.assert_close(F.conv2d(u, transposed(a), padding=1), F.conv_transpose2d(u, a, padding=1))
    products = [(F.conv2d(x, skew, padding=1) * y).sum() for x, y in ((u, other), (other, u))]
    torch.testing.assert_close(products[0], -products[1])
    pushed = F.conv2d(u, a, padding=1)
    torch.testing.assert_close(
        operator.product(u), M * u + F.conv_transpose2d(pushed, a, padding=1) - F.conv2d(u, skew, padding=1)
    )


@both
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_splitting_contracts_to_the_solution_from_every_start(kind: type[MonotoneOperator], scale: float) -> None:
    operator, v = make(kind, scale), features(kind, 7)
    w = torch.eye(v[0].numel(), dtype=torch.float64) - dense(operator)
    found = []
    for start in (torch.zeros_like(v), 10 * torch.randn_like(v)):
        layer = fpi.FPILayer(operator, solver=SOLVER)
        found.append(layer(v, start))
        u = found[-1].flatten(1)
        torch.testing.assert_close(F.relu(u @ w.t() + v.flatten(1)), u, rtol=0, atol=1e-9)
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)
    source, (a, k) = operator.inject(v), operator.norms()
    bound = (1 - source[1] * M).square() + source[1].square() * (k.square() + a.square() * k)
    assert bound < 1
    assert (fpi.contraction.jacobian_norm(operator, found[0].detach(), source) <= bound.sqrt()).all()
    if scale > 1:  # the equation as it stands is no contraction
        assert torch.linalg.matrix_norm(w.detach(), 2) > 1


@both
def test_plain_iteration_needs_no_more_than_the_bound_says(kind: type[MonotoneOperator]) -> None:
    operator, v = make(kind, 2.0), features(kind, 5)
    layer = fpi.FPILayer(operator, solver=fpi.Picard(criterion=fpi.Relative(1e-20), max_iter=3000))
    layer(v)
    step, (a, k) = operator.inject(v)[1], operator.norms()
    rate = ((1 - step * M).square() + step.square() * (k.square() + a.square() * k)).sqrt()
    assert layer.info.converged.all() and (layer.info.rate <= rate * (1 + 1e-6)).all()


@both
def test_the_gradient_is_that_of_dense_algebra(kind: type[MonotoneOperator]) -> None:
    """Of L = ⟨weights, u⟩: λ = (I − Wᵀ D)⁻¹ weights with D the active entries, dL/dθ = ⟨D λ, dW u⟩, dL/dv = D λ."""
    operator, v = make(kind), features(kind, 4).requires_grad_()
    u = fpi.FPILayer(operator, solver=SOLVER, adjoint=fpi.BackwardFPI(SOLVER))(v)
    weights = torch.randn_like(u)
    parameters = list(operator.parameters())
    found = torch.autograd.grad((weights * u).sum(), [v, *parameters])
    w = torch.eye(v[0].numel(), dtype=torch.float64) - dense(operator)
    active = (u > 0).double().flatten(1)
    cotangents = [
        d * torch.linalg.solve(torch.eye(len(w)) - w.detach().t() * d, c)
        for d, c in zip(active, weights.flatten(1), strict=True)
    ]
    pushed = torch.stack(cotangents)
    torch.testing.assert_close(found[0].flatten(1), pushed, rtol=1e-8, atol=1e-10)
    expected = torch.autograd.grad((pushed * (u.detach().flatten(1) @ w.t())).sum(), parameters)
    for ours, theirs in zip(found[1:], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@both
def test_the_step_of_the_splitting_changes_no_gradient(kind: type[MonotoneOperator]) -> None:
    operator, v = make(kind), features(kind, 4)
    found = []
    for factor in (1.0, 0.3):
        layer = fpi.FPILayer(Slower(operator, factor), solver=SOLVER, adjoint=fpi.BackwardFPI(SOLVER))
        found.append(torch.autograd.grad(layer(v).square().sum(), list(operator.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


class Slower(torch.nn.Module):
    """The same operator with a shorter step."""

    def __init__(self, operator: MonotoneOperator, factor: float) -> None:
        super().__init__()
        self.operator, self.factor = operator, factor

    def inject(self, v: Tensor) -> tuple[Tensor, Tensor]:
        v, step = self.operator.inject(v)
        return v, self.factor * step

    def forward(self, u: Tensor, injected: tuple[Tensor, Tensor]) -> Tensor:
        return self.operator(u, injected)


@both
def test_a_monotonicity_that_is_not_positive_is_refused(kind: type[MonotoneOperator]) -> None:
    with pytest.raises(ValueError, match=r"monotonicity \(m\) must be above 0, got 0"):
        kind(3, 0)
