"""act(x Wᵀ + b): the affine maps that g is mostly made of, through oneDNN where that is the faster CPU product.

In float32 on a CPU, torch multiplies matrices with MKL, which on other makers' processors takes about twice as long as
oneDNN; and its tanh takes as long as a quarter of such a product.  The values agree to rounding.  A solve, which
multiplies with the same matrices again and again, keeps them in the order in which oneDNN reads them (`repeated`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from fpi.scope import Scope

_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_CAN_PACK = hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
_USES_TO_PACK = 8
_MOST_KEPT = 16
_SMALLEST = 2**22  # multiplications; below, the call itself costs more than it saves
_OPS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda y: y,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
_IN_PLACE: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda y: y,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
}
_NAMES = {nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, added: Tensor | None = None, activation: str | None = None
) -> Tensor:
    """act(x Wᵀ + bias + added), differentiable to any order and in every mode.

    Args:
        x: (batch, inputs).
        weight: (outputs, inputs).
        bias: (outputs,).
        added: (batch, outputs), a term per sample.
        activation: `"relu"`, `"sigmoid"`, `"tanh"` or `None`.
    """
    if not _through_onednn(x, weight):
        y = F.linear(x, weight, bias) if added is None else torch.addmm(added, x, weight.t())
        return _OPS[activation](y if bias is None or added is None else y + bias)
    x = _dense(x)
    if not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in (x, weight, bias, added)):
        return _evaluate(x, _prepared(weight, x.shape[0]), bias, added, activation)
    weight = _dense(weight)
    value = _Product.apply(x, (weight, bias, added, activation))
    return _Result.apply(value, _Parameters.apply(weight, bias, value.shape, (x,)), added, activation)


class Kept:
    """A matrix in repeated use: as given, then without gaps, then in oneDNN's order, which costs some products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = self.form = matrix  # its memory is not reused for another one while it is kept
        self.uses = 0

    def next(self, rows: int) -> Tensor:
        self.uses += 1
        if self.uses == 2:
            self.form = _dense(self.matrix)
        elif self.uses == _USES_TO_PACK and _CAN_PACK:
            self.form = torch.ops.mkldnn._reorder_linear_weight(self.form, rows)
        return self.form if self.uses > 1 else _dense(self.matrix)


_KEPT: ContextVar[dict[Any, Kept] | None] = ContextVar("fpi.onednn.repeated", default=None)


def repeated(kept: dict[Any, Kept]) -> Scope[dict[Any, Kept] | None]:
    """Inside the block, matrices without gradient that are used again are kept in the form oneDNN reads fastest.

    Args:
        kept: empty at first, to be handed to every block that repeats the same evaluation.
    """
    return Scope(_KEPT, kept)


def _prepared(weight: Tensor, rows: int) -> Tensor:
    """The matrix for a product with so many rows."""
    kept = _KEPT.get()
    if kept is None or weight.is_inference():
        return _dense(weight)
    key = (weight.data_ptr(), weight._version, weight.shape, weight.stride(), rows)
    found = kept.get(key)
    if found is None:
        if len(kept) >= _MOST_KEPT:  # a g that computes its matrices anew each time
            kept.clear()
        found = kept[key] = Kept(weight)
    return found.next(rows)


def chain(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """The layers one after the other, a linear layer and the activation behind it in one piece."""
    following = list(layers)
    while following:
        layer = following.pop(0)
        if type(layer) is nn.Linear and x.dim() == 2 and not _hooked(layer):
            x = linear(x, layer.weight, layer.bias, activation=take_activation(following))
        else:
            x = layer(x)
    return x


def take_activation(layers: list[nn.Module]) -> str | None:
    """Removes the first layer and returns its name, if it is an activation that `linear` knows."""
    name = _NAMES.get(type(layers[0])) if layers and not _hooked(layers[0]) else None
    if name is not None:
        layers.pop(0)
    return name


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def _through_onednn(x: Tensor, weight: Tensor) -> bool:
    return bool(
        _AVAILABLE
        and x.dim() == 2
        and x.shape[0] * weight.numel() >= _SMALLEST
        and all(t.dtype == torch.float32 and t.device.type == "cpu" and t.layout == torch.strided for t in (x, weight))
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def _dense(matrix: Tensor) -> Tensor:
    """A matrix without gaps: with others oneDNN falls back to loops a thousand times slower."""
    if matrix.is_contiguous() or matrix.t().is_contiguous():
        return matrix
    return matrix.t().contiguous().t() if matrix.stride(0) == 1 else matrix.contiguous()


def _evaluate(x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None, activation: str | None) -> Tensor:
    kernel = torch.ops.mkldnn._linear_pointwise
    if added is None and activation in ("sigmoid", "tanh"):
        y: Tensor = kernel(x, weight, bias, activation, [], "")
        return y
    # oneDNN's own relu makes 0 of nan, which would hide that a solve diverges
    y = kernel(x, weight, bias, "none", [], "") if added is None else kernel.binary(x, added, weight, bias, "add")
    return torch.tanh(y.to_mkldnn()).to_dense() if activation == "tanh" else _IN_PLACE[activation](y)


class _Product(torch.autograd.Function):
    """The value; of its derivatives only the one in x.

    A function of several inputs would compute the gradient of W in each of the products with (∂y/∂x)ᵀ that a backward
    solve makes, whoever asks.  So W's has a branch of its own, on which a solve does not come along.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, terms: tuple[Tensor, Tensor | None, Tensor | None, str | None]) -> Tensor:
        ctx.save_for_backward(terms[0])
        return _evaluate(x, *terms)

    @staticmethod
    def backward(ctx: Any, *c: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return linear(c[0], weight.t()), None


class _Parameters(torch.autograd.Function):
    """Nothing (a zero), with the derivatives of the value in W and b."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, shape: torch.Size, x: tuple[Tensor]) -> Tensor:
        ctx.save_for_backward(x[0])
        return weight.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, *c: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (x,), needed = ctx.saved_tensors, ctx.needs_input_grad
        weight = linear(c[0].t(), x.t()) if needed[0] else None
        return weight, c[0].sum(0) if needed[1] else None, None, None


class _Result(torch.autograd.Function):
    """Joins the branches: the value, and the derivative of the activation in terms of the value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, parameters: Tensor, added: Tensor | None, activation: str | None) -> Tensor:
        y = value.detach()
        ctx.activation = activation
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *c: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        (y,) = ctx.saved_tensors
        c0 = c[0]
        if ctx.activation == "tanh":
            c0 = c0 - c0 * y.square()
        elif ctx.activation == "sigmoid":
            c0 = c0 * (y - y.square())
        elif ctx.activation == "relu":
            c0 = torch.ops.aten.threshold_backward(c0, y, 0)
        return c0, c0, c0 if ctx.needs_input_grad[2] else None, None
