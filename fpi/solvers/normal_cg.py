"""Conjugate gradients on the normal equations, per sample: a linear solver for affine steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fpi.info import SolveInfo
from fpi.solvers.base import Solver
from fpi.solvers.step import Affine, State, Step, take
from fpi.solvers.watch import Watch, agree


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(Solver):
    """Solves c = M c + b as (I − M)ᵀ(I − M) c = (I − M)ᵀ b by conjugate gradients (CGNR; Saad 2003, algorithm 8.4).

    It needs no contraction, only that I − M is regular, and two products an iteration: one with M, one with Mᵀ.
    The criterion is applied to the residual b − (I − M) c relative to b.  It works on steps that are affine, which a
    backward solve (4.10) is and a forward solve in general is not; use it through `fpi.NormalCG`.

    Raises:
        ValueError: the step is not affine.
    """

    def solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        if step.affine is None:
            raise ValueError("ConjugateGradient solves affine steps only: use it for the backward solve, as NormalCG()")
        watch, affine, c = Watch(self, step, x0), step.affine, x0
        b = watch.evaluate([torch.zeros_like(leaf) for leaf in c])
        r = [new - old for new, old in zip(watch.evaluate(c), c, strict=True)]
        p: State | None = None
        gamma: Tensor | None = None
        for n in range(1, self.max_iter + 1):
            if watch.check(n, r, b):
                break
            s = _normal(affine, r, watch)
            shrunk = _dot(s, s)
            p = s if p is None or gamma is None else _axpy(shrunk / _positive(gamma), p, s)
            gamma = shrunk
            moved = affine.product(p)
            watch.count()
            q = [u - m for u, m in zip(p, moved, strict=True)]
            length = gamma / _positive(_dot(q, q))
            c = watch.keep_frozen(c, watch.release(c, _axpy(length, p, c)))
            r = watch.keep_frozen(r, watch.release(r, _axpy(-length, q, r)))
            rows = watch.settle(c, partial(_same, p, moved))
            if rows is not None:
                b, c, r, p = (take(state, rows) for state in (b, c, r, p))
                gamma = gamma[rows]
                assert watch.step.affine is not None
                affine = watch.step.affine
        else:
            watch.check(n, r, b)
        return watch.finish(c)


def _normal(affine: Affine, r: State, watch: Watch) -> State:
    """(I − M)ᵀ r."""
    watch.count()
    return [u - m for u, m in zip(r, affine.transposed(r), strict=True)]


def _same(p: State, product: State, step: Step, rows: Tensor) -> bool:
    assert step.affine is not None
    return agree(step.affine.product(take(p, rows)), take(product, rows))


def _positive(a: Tensor) -> Tensor:
    """A divisor: a sample whose residual is zero stays where it is."""
    return a.clamp_min(torch.finfo(a.dtype).tiny)


def _dot(a: State, b: State) -> Tensor:
    """(batch,) inner products."""
    products = [(u * v).flatten(1).sum(1) if u.dim() > 1 else u * v for u, v in zip(a, b, strict=True)]
    return torch.stack(products).sum(0)


def _axpy(length: Tensor, a: State, b: State) -> State:
    """b + length · a, one length a sample."""
    return [torch.addcmul(v, u, length.reshape(-1, *[1] * (u.dim() - 1))) for u, v in zip(a, b, strict=True)]
