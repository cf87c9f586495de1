"""Measures of contraction at a point: the spectral radius and the norm of ∂g/∂x, per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def spectral_radius(g: Callable[..., Tensor], x: Tensor, *args: Any, iterations: int = 50) -> Tensor:
    """An estimate of `|λ_max(∂g/∂x)|` per sample at the state x, by power iteration on (∂g/∂x)ᵀ.

    Below 1 the iteration converges near x̂, forward and backward; how fast, its logarithm says.

    Args:
        g: the map, called as `g(x, *args)`.
        x: (batch, ...) the point, usually x̂.
        iterations: products with the transposed Jacobian; the geometric mean of the last half's growth is returned,
            which is also right for a pair of complex or of opposite eigenvalues.

    Returns:
        (batch,) estimates.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = g(leaf, *args)
        v = _start(x)
        logs = []
        for _ in range(iterations):
            v = v / _norm(v).clamp_min(torch.finfo(v.dtype).tiny)
            (v,) = torch.autograd.grad(out, leaf, v, retain_graph=True)
            logs.append(_norm(v).flatten().log())
    return torch.stack(logs[len(logs) // 2 :]).mean(0).exp()


def jacobian_norm(g: Callable[..., Tensor], x: Tensor, *args: Any, iterations: int = 50) -> Tensor:
    """A lower bound of ‖∂g/∂x‖₂ per sample at the state x, by power iteration on (∂g/∂x)ᵀ(∂g/∂x).

    Theorem 2's constant at a point.  It is at least the spectral radius; below 1 at every x the theorem holds, while
    a radius below 1 with a norm above it converges after a transient growth.

    Args:
        g, x: as for `spectral_radius`.
        iterations: pairs of products with the Jacobian and its transpose.

    Returns:
        (batch,) estimates.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = g(leaf, *args)
        dual = torch.zeros_like(out, requires_grad=True)  # (∂g/∂x)ᵀ w is linear in w; its derivative in w gives ∂g/∂x v
        (transposed,) = torch.autograd.grad(out, leaf, dual, create_graph=True)
        v = _start(x)
        for _ in range(iterations):
            v = v / _norm(v).clamp_min(torch.finfo(v.dtype).tiny)
            (image,) = torch.autograd.grad(transposed, dual, v, retain_graph=True)
            (v,) = torch.autograd.grad(out, leaf, image, retain_graph=True)
    return _norm(image).flatten()


def _start(x: Tensor) -> Tensor:
    """The same random direction for every call."""
    return torch.randn(x.shape, generator=torch.Generator(device="cpu").manual_seed(0)).to(x)


def _norm(v: Tensor) -> Tensor:
    """Per-sample norm, shaped to broadcast against v."""
    return torch.linalg.vector_norm(v.reshape(v.shape[0], -1), dim=1).reshape(-1, *[1] * (v.dim() - 1))
