"""The inverse of any decoder, without training one: x̂ = argmin_x ‖y − D(x)‖² by FPI_GD (thesis eqs. 6.4 and 6.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

import torch
from torch import Tensor, nn

from fpi.adjoints import Adjoint, NormalCG
from fpi.info import SolveInfo
from fpi.layers import FPI_GD
from fpi.solvers import LBFGS, Solver


@overload
def invert(
    decoder: Callable[[Tensor], Tensor],
    y: Tensor,
    x0: Tensor,
    *,
    solver: Solver | None = ...,
    adjoint: Adjoint | None = ...,
    step_size: float = ...,
    return_info: Literal[False] = ...,
) -> Tensor: ...
@overload
def invert(
    decoder: Callable[[Tensor], Tensor],
    y: Tensor,
    x0: Tensor,
    *,
    solver: Solver | None = ...,
    adjoint: Adjoint | None = ...,
    step_size: float = ...,
    return_info: Literal[True],
) -> tuple[Tensor, SolveInfo]: ...


def invert(
    decoder: Callable[[Tensor], Tensor],
    y: Tensor,
    x0: Tensor,
    *,
    solver: Solver | None = None,
    adjoint: Adjoint | None = None,
    step_size: float = 1.0,
    return_info: bool = False,
) -> Tensor | tuple[Tensor, SolveInfo]:
    """The input of a decoder whose output is nearest to y: a minimum of mean ‖y − D(x)‖² per sample, near x0.

    Nothing is trained, and the result is differentiable in y and in the decoder's parameters.

    Args:
        decoder: x ↦ D(x), of the shape of y; samples must not influence each other (evaluation mode). A function may
            not use tensors that require gradients: give an `nn.Module`.
        y: what to reach, (batch, ...).
        x0: where the search starts, (batch, ...); where D is not convex, which minimum is found depends on it.
        solver: default `LBFGS()`, which never increases a sample's error. With `Picard` or `Anderson` it is the
            iteration (6.5) itself, and `step_size` must suit the decoder's scale.
        adjoint: default `NormalCG()`, which needs no contraction.
        step_size: γ of (6.5), for the mean over y's entries.
        return_info: also return the `fpi.SolveInfo`.

    Raises:
        FixedPointError: see `fixed_point`.
        TypeError: decoder is no module and uses tensors that require gradients: they would receive none.
        ValueError: y, x0 and the decoder's output do not fit together.
    """
    module = decoder if isinstance(decoder, nn.Module) else _Function(decoder)
    with torch.enable_grad():
        out = module(x0.detach()[:1])
    if not isinstance(decoder, nn.Module) and out.requires_grad:
        raise TypeError(
            "decoder is a function that uses tensors that require gradients: they would silently receive none. "
            "Give it as an nn.Module."
        )
    if out.shape[1:] != y.shape[1:] or y.shape[0] != x0.shape[0]:
        raise ValueError(
            f"the decoder makes {tuple(out.shape[1:])} of a sample of x0, whose batch is {x0.shape[0]}; y must be "
            f"{(x0.shape[0], *out.shape[1:])}, got {tuple(y.shape)}"
        )
    layer = FPI_GD(
        _Misfit(module),
        step_size=step_size,
        solver=LBFGS() if solver is None else solver,
        adjoint=NormalCG() if adjoint is None else adjoint,
    )
    x: Tensor = layer(y, x0=x0)
    if not return_info:
        return x
    assert layer.info is not None
    return x, layer.info


class _Misfit(nn.Module):
    """The energy of (6.4), as a mean over the entries of y: (batch,)."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.decoder(x) - y).square().flatten(1).mean(1)


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
