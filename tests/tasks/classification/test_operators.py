"""The latent maps R: the published formulas, and contraction at every weight."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fpi
from tasks.classification.operators import OneLayer, TwoLayers

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
