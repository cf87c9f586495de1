"""The path of x through a network: the product of its layers' norms and slopes, and the means to limit it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fpi.contraction.norms import Conv, operator_norm

# sup |φ'| of the elementwise functions; those with a parameter of their own are in `slope`
_SLOPES: dict[type[nn.Module], float] = {
    nn.Identity: 1.0,
    nn.Flatten: 1.0,
    nn.Unflatten: 1.0,
    nn.ReLU: 1.0,
    nn.ReLU6: 1.0,
    nn.CELU: 1.0,
    nn.SELU: 1.7581,
    nn.Softplus: 1.0,
    nn.Tanh: 1.0,
    nn.Softsign: 1.0,
    nn.LogSigmoid: 1.0,
    nn.Sigmoid: 0.25,
    nn.SiLU: 1.0999,
    nn.GELU: 1.13,  # erf: 1.1290, tanh: 1.1295
}
_WITH_OPTIONS = (nn.LeakyReLU, nn.ELU, nn.Dropout)
_NORMALISING = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


def slope(module: nn.Module) -> float:
    """The Lipschitz constant of an elementwise function (at its present mode: dropout scales up in training).

    Raises:
        TypeError: it is not known here.
    """
    if isinstance(module, nn.LeakyReLU):
        return max(1.0, abs(module.negative_slope))
    if isinstance(module, nn.ELU):
        return max(1.0, abs(module.alpha))
    if isinstance(module, nn.Dropout):
        return 1 / (1 - module.p) if module.training and module.p < 1 else 1.0
    if type(module) in _SLOPES:
        return _SLOPES[type(module)]
    name = type(module).__name__
    if isinstance(module, _NORMALISING):
        raise TypeError(
            f"{name} has no usable Lipschitz constant (it divides by a standard deviation that may be small): "
            "keep it off the path of x, fpi.contraction.jacobian_penalty needs no bound"
        )
    known = sorted(t.__name__ for t in [*_SLOPES, *_WITH_OPTIONS])
    raise TypeError(f"the Lipschitz constant of {name} is not known here; known are Linear, Conv, " + ", ".join(known))


def chain(net: nn.Module) -> list[nn.Module]:
    """The modules that x passes in turn: of an FPI_NN, of (nested) `Sequential`s, or the one layer itself.

    Raises:
        TypeError: a module on the path whose Lipschitz constant is not known; no Linear or Conv at the path's start.
    """
    found = _flatten(net.g.net if hasattr(net, "g") and hasattr(net.g, "net") else net)  # type: ignore[arg-type]
    for module in found:
        if not isinstance(module, nn.Linear | Conv):
            slope(module)
    if not isinstance(found[0], nn.Linear | Conv):
        raise TypeError(f"the path of x must begin with Linear or Conv, got {type(found[0]).__name__}")
    return found


def _flatten(net: nn.Module) -> list[nn.Module]:
    return [leaf for child in net for leaf in _flatten(child)] if isinstance(net, nn.Sequential) else [net]


def state_width(net: nn.Module, modules: list[nn.Module], given: int | None) -> int:
    """How many of the first layer's inputs are x's, checked: g returns x's shape, so the last layer tells.

    Raises:
        ValueError: the given number is impossible.
    """
    first: Any = modules[0]
    total: int = first.weight.shape[1]
    if given is None:
        if not hasattr(net, "g"):
            return total
        last: Any = [module for module in modules if isinstance(module, nn.Linear | Conv)][-1]
        given = int(last.weight.shape[0])
    if not 0 < given <= total:
        raise ValueError(f"state_features must lie in 1..{total}, the first layer's inputs, got {given!r}")
    if given < total and getattr(first, "groups", 1) != 1:
        raise ValueError("a first layer on [x, z] cannot be grouped: set groups=1")
    return given


def chain_norm(modules: tuple[nn.Module, ...], first_weight: Tensor, slack: float) -> Tensor:
    """The product of norms and slopes, differentiable, with `first_weight` for the first layer's."""
    bound = operator_norm(modules[0], first_weight, slack=slack)
    for module in modules[1:]:
        if isinstance(module, nn.Linear | Conv):
            bound = bound * operator_norm(module, slack=slack)
        else:
            bound = bound * slope(module)
    return bound


@torch.no_grad()
def lipschitz_bound(layer: nn.Module, state_features: int | None = None) -> float:
    """An upper bound of ‖∂g/∂x‖ valid at every x: the product of the layers' norms along the path of x.

    `Linear` counts with its exact norm, a convolution with `fpi.contraction.operator_norm` (within 10 % of it).

    Args:
        layer: an FPI_NN, a `Sequential` g(x), or a single layer, made of `Linear`, `Conv1d`/`2d`/`3d` (zero
            or circular padding) and elementwise functions.
        state_features: number of features (channels) of x among the first layer's inputs; default: the last layer's
            outputs for an FPI_NN, all inputs otherwise.

    Raises:
        TypeError: the network has a layer whose Lipschitz constant is not known here.
    """
    modules = chain(layer)
    width = state_width(layer, modules, state_features)
    bound = 1.0
    for index, module in enumerate(modules):
        if not isinstance(module, nn.Linear | Conv):
            bound *= slope(module)
            continue
        weight = module.weight[:, :width] if index == 0 else module.weight
        if isinstance(module, nn.Linear):
            bound *= _norm(weight.double())
        else:
            bound *= float(operator_norm(module, weight))
    return bound


def _norm(matrix: Tensor) -> float:
    """‖matrix‖₂: the largest eigenvalue of the smaller Gram matrix, at less than half the price of singular values."""
    gram = matrix.mT @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.mT
    return float(torch.linalg.eigvalsh(gram)[-1].clamp_min(0).sqrt())


@torch.no_grad()
def limit_lipschitz_(layer: nn.Module, state_features: int | None, bound: float) -> float:
    """Scale the first layer's x-columns down, in place, so that `lipschitz_bound` is at most `bound`.

    Only the path of x is touched: the map of z keeps its full freedom.  Returns the bound before the projection.

    Raises:
        TypeError: as for `lipschitz_bound`.
        ValueError: `bound` is not positive, or the first layer's weight is parametrised.
    """
    if not bound > 0:
        raise ValueError(f"bound must be > 0, got {bound!r}")
    first: Any = chain(layer)[0]
    if parametrize.is_parametrized(first, "weight"):
        raise ValueError(
            "the first layer's weight is parametrised, it cannot be scaled in place: limit_lipschitz_ and "
            "spectral_budget_ exclude each other"
        )
    before = lipschitz_bound(layer, state_features)
    if before > bound:
        first.weight[:, : state_width(layer, [*chain(layer)], state_features)] *= bound / before
    return before


@torch.no_grad()
def scale_parameters_(module: nn.Module, factor: float) -> None:
    """Multiply all parameters by `factor`: the thesis' small initial weights (×0.1, ×0.01; section 4.4)."""
    for parameter in module.parameters():
        parameter.mul_(factor)
