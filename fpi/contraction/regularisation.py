"""Jacobian regularisation: a term of the loss that keeps ∂g/∂x small where the layer is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def jacobian_penalty(
    g: Callable[..., Tensor],
    x_hat: Tensor,
    *args: Any,
    samples: int = 1,
    attached: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hutchinson's estimate of ‖∂g/∂x‖_F² / d per sample at x̂ (Bai, Koltun & Kolter 2021, eq. 4).

    E ‖(∂g/∂x)ᵀ ε‖² = ‖∂g/∂x‖_F² for ε of independent ±1 entries, which have the least variance.  d is the number of
    entries of a sample's x: the penalty is the mean squared singular value, and does not bound the largest.

        layer = fpi.FPI_NN(net)
        x = layer(z)
        loss = criterion(x, y) + 1.0 * jacobian_penalty(layer.g, x, layer.g.inject(z)).mean()

    Args:
        g: the map, called as `g(x, *args)`; must be twice differentiable.
        x_hat: (batch, ...) the layer's output.
        args: g's other arguments; for an FPILayer whose g has `inject`, that of z.
        samples: ε per sample, each one product with the transposed Jacobian.
        attached: also differentiate through x̂, which adds ∂x̂/∂θ to the gradient.  By default x̂ is a constant: the
            gradient then needs no backward solve, and so it still is right when that solve fails to converge, which is
            when the penalty is needed.
        generator: of the ε, on x̂'s device.

    Returns:
        (batch,) estimates, differentiable in g's parameters if grad mode is on.
    """
    if samples < 1:
        raise ValueError(f"samples must be an integer ≥ 1, got {samples!r}")
    create_graph = torch.is_grad_enabled()
    total = torch.zeros(x_hat.shape[0], dtype=x_hat.dtype, device=x_hat.device)
    with torch.enable_grad():
        if attached and x_hat.requires_grad:
            x = x_hat.view_as(x_hat)  # an alias: the derivative is ∂g/∂x, even where args depend on x̂
        else:
            x = x_hat.detach().requires_grad_()
        out = g(x, *args)
        for _ in range(samples):
            sign = torch.empty_like(x).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
            (product,) = torch.autograd.grad(out, x, sign, create_graph=create_graph, retain_graph=True)
            total = total + product.reshape(x.shape[0], -1).square().mean(1)
    return total / samples
