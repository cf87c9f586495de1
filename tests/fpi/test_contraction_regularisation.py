"""The Jacobian penalty against the dense Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from fpi import contraction
from tests.fpi.problems import make_nn


def dense_penalty(layer: fpi.FPI_NN, x: Tensor, z: Tensor) -> Tensor:
    """‖∂g/∂x‖_F² / d per sample, from the whole Jacobian."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x, h: layer.g(x[None], h[None])[0]))(x, layer.g.inject(z))
    return jacobian.square().sum((1, 2)) / x.shape[1]


def test_the_estimate_is_unbiased(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    x, injected = layer(z).detach(), layer.g.inject(z)
    exact = dense_penalty(layer, x, z)
    draws = torch.stack([contraction.jacobian_penalty(layer.g, x, injected).detach() for _ in range(800)])
    error = draws.std(0) / 800**0.5
    assert ((draws.mean(0) - exact).abs() < 4 * error).all() and (error < 0.05 * exact).all()
    averaged = contraction.jacobian_penalty(layer.g, x, injected, samples=400)
    torch.testing.assert_close(averaged, exact, rtol=0.15, atol=0)


def test_the_estimate_is_exact_for_one_entry_per_sample() -> None:
    """d = 1: ε² = 1, nothing is left to chance, and so the gradients can be compared digit by digit."""
    torch.manual_seed(0)
    layer = make_nn(x=1)
    z = torch.randn(5, 3, dtype=torch.float64)
    parameters = list(layer.parameters())
    for attached in (False, True):
        x = layer(z)
        ours = contraction.jacobian_penalty(layer.g, x, layer.g.inject(z), attached=attached)
        x = layer(z) if attached else layer(z).detach()
        theirs = dense_penalty(layer, x, z)
        torch.testing.assert_close(ours, theirs)
        grads = [torch.autograd.grad(p.sum(), parameters, allow_unused=True) for p in (ours, theirs)]
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b)


def test_by_default_the_fixed_point_is_a_constant(z: Tensor) -> None:
    layer = make_nn()
    contraction.jacobian_penalty(layer.g, layer(z), layer.g.inject(z)).sum().backward()
    assert layer.info.backward is None
    contraction.jacobian_penalty(layer.g, layer(z), layer.g.inject(z), attached=True).sum().backward()
    assert layer.info.backward is not None


def test_the_penalty_lowers_the_spectral_radius(z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    z = z.detach()
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    before = contraction.spectral_radius(layer.g, layer(z), layer.g.inject(z)).max()
    for _ in range(30):
        optimiser.zero_grad()
        contraction.jacobian_penalty(layer.g, layer(z), layer.g.inject(z)).mean().backward()
        optimiser.step()
    after = contraction.spectral_radius(layer.g, layer(z), layer.g.inject(z)).max()
    assert after < 0.5 * before


def test_generator_and_grad_mode(z: Tensor) -> None:
    layer = make_nn()
    x, injected = layer(z), layer.g.inject(z)
    draws = [
        contraction.jacobian_penalty(layer.g, x, injected, generator=torch.Generator().manual_seed(3)) for _ in "ab"
    ]
    assert torch.equal(*draws) and draws[0].requires_grad
    with torch.no_grad():
        assert not contraction.jacobian_penalty(layer.g, x, injected).requires_grad
    with pytest.raises(ValueError, match="samples"):
        contraction.jacobian_penalty(layer.g, x, injected, samples=0)
