"""The thesis' operators P and H (eqs. 4.14 and 4.15)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def partial(r: Callable[..., Tensor], *s: Any) -> Any:
    """P(s; r) = ∂r(s)/∂s: the *partial* derivatives of a scalar function (eq. 4.14).

    Every argument counts as independent of the others, even where the graph says that one was computed from another;
    the result is attached to the graph, so that it can be differentiated again, by `partial` or by autograd.

    Args:
        r: a function of `s` with a scalar (one-element) result.
        s: tensors or pytrees of tensors.

    Returns:
        The derivative with the structure of `s[0]`, or a tuple of them if there are several arguments.

    Raises:
        ValueError: r is not scalar-valued.
    """
    value, pull = torch.func.vjp(r, *s)[:2]
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"partial needs a scalar function, r returned {shape}; use inner(v, u) for c·g(x)")
    derivatives = pull(torch.ones_like(value))
    return derivatives[0] if len(s) == 1 else derivatives


def inner(v: Any, u: Callable[..., Any]) -> Callable[..., Tensor]:
    """H(v; u): the function s ↦ Σ_i ⟨v_i, u_i(s)⟩ (eq. 4.15); `h = inner(c, g)` is (4.11).

    Args:
        v: a tensor or pytree of tensors with the structure of u's result.
        u: a function returning that structure.
    """
    weights = pytree.tree_leaves(v)

    def h(*s: Any) -> Tensor:
        outputs = pytree.tree_leaves(u(*s))
        products = [(a * b).sum() for a, b in zip(weights, outputs, strict=True)]
        return torch.stack(products).sum()

    return h
