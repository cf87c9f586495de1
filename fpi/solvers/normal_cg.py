"""Conjugate gradients on the normal equations, per sample: a linear solver for affine steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from fpi.criteria import norm
from fpi.info import SolveInfo
from fpi.solvers.base import Solver
from fpi.solvers.samples import axpy, minus, ratio, same_product
from fpi.solvers.step import Affine, State, Step, take
from fpi.solvers.watch import Watch


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(Solver):
    """Solves c = M c + b as (I − M)ᵀ(I − M) c = (I − M)ᵀ b by conjugate gradients (CGNR; Saad 2003, algorithm 8.4).

    It needs no contraction, only that I − M is regular, and two products an iteration: one with M, one with Mᵀ.
    The criterion is applied to the residual b − (I − M) c relative to b.  It works on steps that are affine, which a
    backward solve (4.10) is and a forward solve in general is not; use it through `fpi.NormalCG`.

    Raises:
        ValueError: the step is not affine.
    """

    def _solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        if step.affine is None:
            raise ValueError("ConjugateGradient solves affine steps only: use it for the backward solve, as NormalCG()")
        watch, affine, c = Watch(self, step, x0), step.affine, x0
        b = affine.constant or watch.evaluate([torch.zeros_like(leaf) for leaf in c])
        r = minus(watch.evaluate(c), c)
        p: State | None = None
        size = norm(r, "sample")
        for n in range(1, self.max_iter + 1):
            if watch.check(n, r, b):
                break
            s = _normal(affine, r, watch)
            before, size = size, norm(s, "sample")
            # the ratio before the square: saturated outputs have gradients of 1e-18, whose squares float32 lacks
            p = s if p is None else axpy(ratio(size, before).square_(), p, s)
            moved = affine.product(p)
            watch.count()
            q = minus(p, moved)
            length = ratio(size, norm(q, "sample")).square_()
            c = watch.keep_frozen(c, watch.release(c, axpy(length, p, c)))
            r = watch.keep_frozen(r, watch.release(r, axpy(-length, q, r)))
            rows = watch.settle(c, partial(same_product, p, moved))
            if rows is not None:
                b, c, r, p = (take(state, rows) for state in (b, c, r, p))
                size = size[rows]
                assert watch.step.affine is not None
                affine = watch.step.affine
        else:
            watch.check(n, r, b)
        return watch.finish(c)


def _normal(affine: Affine, r: State, watch: Watch) -> State:
    """(I − M)ᵀ r."""
    watch.count()
    return minus(r, affine.transposed(r))
