"""The latent maps R: the published formulas, contraction at every weight, and the monotone operator's solution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fpi
from tasks.classification.operators import MonotoneOperator, OneLayer, TwoLayers

LATENT = 12


def one_layer(name: str, bound: float | None = 1.0) -> OneLayer:
    inner, outer, pre, post = {
        "fc": (1.0, 0.9, nn.ReLU(), nn.ReLU()),
        "conv": (0.99, 1.0, nn.Identity(), nn.ReLU()),
        "cifar10": (0.99, 1.0, nn.ReLU(), nn.Identity()),
    }[name]
    return OneLayer(LATENT, inner, outer, pre, post, bound)


def test_the_published_formulas() -> None:
    torch.manual_seed(0)
    u, v = torch.randn(2, 5, LATENT)
    fc, conv, cifar10 = (one_layer(name) for name in ("fc", "conv", "cifar10"))
    expected = {
        fc: 0.9 * F.relu(fc.path(F.relu(u) + v)),
        conv: F.relu(conv.path(0.99 * u + v)),
        cifar10: cifar10.path(0.99 * F.relu(u) + v),
    }
    for operator, value in expected.items():
        torch.testing.assert_close(operator(u, operator.inject(v)), value)
    svhn = TwoLayers(LATENT, 0.99, 1.0)
    first, _, second = svhn.path
    hidden = F.leaky_relu(F.linear(F.leaky_relu(u, 0.1), first.weight, first.bias), 0.1)
    torch.testing.assert_close(svhn(u, v), 0.99 * second(hidden) + v)


@pytest.mark.parametrize("name", ["fc", "conv", "cifar10", "svhn"])
def test_they_contract_at_every_weight(name: str) -> None:
    torch.manual_seed(0)
    operator = TwoLayers(LATENT, 0.99, 1.0) if name == "svhn" else one_layer(name)
    gamma = 0.9 if name == "fc" else 0.99
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.mul_(50)  # far beyond what training makes of it
    u, other, v = torch.randn(3, 200, LATENT)
    source = operator.inject(v) if hasattr(operator, "inject") else v
    moved = (operator(u, source) - operator(other, source)).norm(dim=1)
    assert (moved <= gamma * (u - other).norm(dim=1) * (1 + 1e-5)).all()
    assert (fpi.contraction.jacobian_norm(operator, u, source) <= gamma * (1 + 1e-5)).all()


def test_without_a_bound_they_need_not() -> None:
    torch.manual_seed(0)
    operator = one_layer("cifar10", None)
    with torch.no_grad():
        operator.path.weight.mul_(50)
    u, v = torch.randn(2, 5, LATENT)
    assert fpi.contraction.jacobian_norm(operator, u, operator.inject(v)).max() > 1


def mon(scale: float = 1.0) -> MonotoneOperator:
    torch.manual_seed(0)
    operator = MonotoneOperator(LATENT, 0.5).double()
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.mul_(scale)
    return operator


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_monotone_operators_solution(scale: float) -> None:
    operator, v = mon(scale), torch.randn(7, LATENT, dtype=torch.float64)
    solver = fpi.Anderson(criterion=fpi.Relative(1e-24), max_iter=3000, on_failure="raise")
    u = fpi.FPILayer(operator, solver=solver)(v)
    w = torch.eye(LATENT, dtype=torch.float64) - operator.monotone()
    torch.testing.assert_close(F.relu(u @ w.t() + v), u, rtol=0, atol=1e-9)
    assert torch.linalg.eigvalsh(operator.monotone() + operator.monotone().t()).min() >= 2 * 0.5 - 1e-9
    source = operator.inject(v)
    assert (fpi.contraction.jacobian_norm(operator, u.detach(), source) < 1).all()
    if scale > 1:  # the equation as it stands is no contraction
        assert torch.linalg.matrix_norm(w.detach(), 2) > 1


def test_the_step_of_the_splitting_changes_no_gradient() -> None:
    operator, v = mon(), torch.randn(4, LATENT, dtype=torch.float64)
    solver = fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=5000)
    found = []
    for factor in (1.0, 0.3):
        inject, operator.inject = operator.inject, lambda v, f=factor: (v, MonotoneOperator.inject(operator, v)[1] * f)  # type: ignore[method-assign]
        u = fpi.FPILayer(operator, solver=solver, adjoint=fpi.BackwardFPI(solver))(v)
        found.append(torch.autograd.grad(u.square().sum(), list(operator.parameters())))
        operator.inject = inject  # type: ignore[method-assign]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_a_monotonicity_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"monotonicity \(m\) must be above 0, got 0"):
        MonotoneOperator(3, 0)
