"""Vector algebra on states, every sample with numbers of its own: what the linear solvers are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from fpi.solvers.step import State, Step, take
from fpi.solvers.watch import agree


def dot(a: State, b: State) -> Tensor:
    """(batch,) inner products."""
    products = [(u * v).flatten(1).sum(1) if u.dim() > 1 else u * v for u, v in zip(a, b, strict=True)]
    return products[0] if len(products) == 1 else torch.stack(products).sum(0)


def axpy(length: Tensor, a: State, b: State) -> State:
    """b + length · a, one length a sample."""
    return [torch.addcmul(v, u, length.reshape(-1, *[1] * (u.dim() - 1))) for u, v in zip(a, b, strict=True)]


def minus(a: State, b: State) -> State:
    """a − b."""
    return [u - v for u, v in zip(a, b, strict=True)]


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b; 0 where b is 0: a sample whose residual is zero stays where it is."""
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def same_product(p: State, product: State, step: Step, rows: Tensor) -> bool:
    """Does the matrix of the step for these rows give the same `product` with p?"""
    assert step.affine is not None
    return agree(step.affine.product(take(p, rows)), take(product, rows))
