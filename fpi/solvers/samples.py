"""Vector algebra on states, every sample with numbers of its own: what the linear solvers are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from fpi.solvers.step import State, Step, take
from fpi.solvers.watch import agree


def dot(a: State, b: State) -> Tensor:
    """(batch,) inner products."""
    products = [_sum(u * v) for u, v in zip(a, b, strict=True)]
    return products[0] if len(products) == 1 else torch.stack(products).sum(0)


def axpy(length: Tensor, a: State, b: State) -> State:
    """b + length · a, one length a sample."""
    return [torch.addcmul(v, u, length.reshape(-1, *[1] * (u.dim() - 1))) for u, v in zip(a, b, strict=True)]


def minus(a: State, b: State) -> State:
    """a − b."""
    return [u - v for u, v in zip(a, b, strict=True)]


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b; 0 where that is no number: a sample whose residual is zero stays where it is."""
    return (a / b).nan_to_num_(0.0, 0.0, 0.0)


def same_product(p: State, product: State, step: Step, rows: Tensor) -> bool:
    """Does the matrix of the step for these rows give the same `product` with p?"""
    assert step.affine is not None
    return agree(step.affine.product(take(p, rows)), take(product, rows))


def _sum(u: Tensor) -> Tensor:
    return u.sum(1) if u.dim() == 2 else u.flatten(1).sum(1) if u.dim() > 2 else u
