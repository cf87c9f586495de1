"""Vector algebra on states, every sample with numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fpi.criteria import norm
from fpi.solvers.step import State, Step, take

_AGREE = 5e-3  # relative; a smaller batch takes other kernels, which round differently (half precision included)


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


def agree(a: State, b: State) -> bool:
    """Are these the same values, up to the rounding of different kernels?  Samples not finite in both are the same."""
    size, error = norm(b, "sample"), norm([u - v for u, v in zip(a, b, strict=True)], "sample")
    broken = ~size.isfinite() & ~norm(a, "sample").isfinite()
    return bool((broken | (error <= _AGREE * size + torch.finfo(error.dtype).tiny)).all())


def select(mask: Tensor, a: Sequence[Tensor], b: Sequence[Tensor]) -> State:
    """Rows of `a` where `mask`, else of `b` (`where`, so that a nan in the other never leaks in)."""
    return [torch.where(mask.reshape(-1, *[1] * (u.dim() - 1)), u, v) for u, v in zip(a, b, strict=True)]


def same_product(p: State, product: State, step: Step, rows: Tensor) -> bool:
    """Does the matrix of the step for these rows give the same `product` with p?"""
    assert step.affine is not None
    return agree(step.affine.product(take(p, rows)), take(product, rows))


def _sum(u: Tensor) -> Tensor:
    return u.sum(1) if u.dim() == 2 else u.flatten(1).sum(1) if u.dim() > 2 else u
