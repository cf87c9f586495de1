"""Is g a contraction, and how to keep it one (thesis 4.4).

Theorem 2 of the thesis: ‖∂g/∂x‖ ≤ k < 1 makes g a contraction, so that the forward and the backward layer converge.
Measures: :func:`spectral_radius` (of the Jacobian at a point), :func:`lipschitz_bound` (certified, everywhere).
Means: :func:`limit_lipschitz_` (after each optimiser step), :func:`scale_parameters_` (small initial weights).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fpi.layers import FPI_NN

_SLOPES: dict[type[nn.Module], float] = {
    nn.ReLU: 1.0,
    nn.LeakyReLU: 1.0,
    nn.Softplus: 1.0,
    nn.Tanh: 1.0,
    nn.Sigmoid: 0.25,
    nn.Identity: 1.0,
    nn.ELU: 1.0,
    nn.Dropout: 1.0,
}


def spectral_radius(g: Callable[..., Tensor], x: Tensor, *args: Any, iterations: int = 50) -> Tensor:
    """An estimate of |λ_max(∂g/∂x)| per sample at the state x, by power iteration on (∂g/∂x)ᵀ.

    Args:
        g: the map, called as ``g(x, *args)``.
        x: (batch, ...) the point, usually x̂.
        iterations: products with the transposed Jacobian; the geometric mean of the last half's growth is returned,
            which is also right for a pair of complex or of opposite eigenvalues.

    Returns:
        (batch,) estimates.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = g(leaf, *args)
        generator = torch.Generator(device="cpu").manual_seed(0)
        v = torch.randn(x.shape, generator=generator).to(x)
        logs = []
        for _ in range(iterations):
            v = v / _norm(v).clamp_min(torch.finfo(v.dtype).tiny)
            (v,) = torch.autograd.grad(out, leaf, v, retain_graph=True)
            logs.append(_norm(v).flatten().log())
    return torch.stack(logs[len(logs) // 2 :]).mean(0).exp()


def lipschitz_bound(layer: FPI_NN, state_features: int) -> float:
    """An upper bound of ‖∂g/∂x‖ valid at every x: the product of the layers' norms along the path of x.

    Args:
        layer: an FPI_NN whose network is made of ``Linear`` layers and elementwise activations.
        state_features: number of features of x.

    Raises:
        TypeError: the network has a layer whose Lipschitz constant is not known here.
    """
    bound = 1.0
    for index, module in enumerate(_network(layer)):
        if isinstance(module, nn.Linear):
            weight = module.weight[:, :state_features] if index == 0 else module.weight
            bound *= float(torch.linalg.matrix_norm(weight.detach(), 2))
        elif type(module) in _SLOPES:
            bound *= _SLOPES[type(module)]
        else:
            raise TypeError(
                f"lipschitz_bound does not know {type(module).__name__}; it knows Linear and "
                + ", ".join(sorted(t.__name__ for t in _SLOPES))
            )
    return bound


@torch.no_grad()
def limit_lipschitz_(layer: FPI_NN, state_features: int, bound: float) -> float:
    """Scale the first layer's x-columns down, in place, so that :func:`lipschitz_bound` is at most ``bound``.

    Only the path of x is touched: the map of z keeps its full freedom.  Returns the bound before the projection.
    """
    if not bound > 0:
        raise ValueError(f"bound must be > 0, got {bound!r}")
    before = lipschitz_bound(layer, state_features)
    if before > bound:
        _network(layer)[0].weight[:, :state_features] *= bound / before
    return before


@torch.no_grad()
def scale_parameters_(module: nn.Module, factor: float) -> None:
    """Multiply all parameters by ``factor``: the thesis' small initial weights (×0.1, ×0.01; section 4.4)."""
    for parameter in module.parameters():
        parameter.mul_(factor)


def _network(layer: FPI_NN) -> Any:
    """The nn.Sequential inside an FPI_NN."""
    return layer.g.net


def _norm(v: Tensor) -> Tensor:
    """Per-sample norm, shaped to broadcast against v."""
    return torch.linalg.vector_norm(v.reshape(v.shape[0], -1), dim=1).reshape(-1, *[1] * (v.dim() - 1))
