"""BiCGStab, per sample: a linear solver for affine steps that needs no transposed products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from fpi.info import SolveInfo
from fpi.solvers.base import Solver
from fpi.solvers.samples import axpy, dot, minus, ratio, same_product
from fpi.solvers.step import State, Step, take
from fpi.solvers.watch import Watch, select

_LOST = 1e-6  # cosine between residual and shadow below which the recursion no longer means anything


@dataclass(frozen=True, kw_only=True)
class BiCGStab(Solver):
    """Solves c = M c + b, the backward solve (4.10), by stabilised bi-conjugate gradients.

    (van der Vorst 1992; Saad 2003, algorithm 7.7.)  As `BackwardFPI(BiCGStab())` it is exact to any order and needs no
    contraction; an iteration takes two products, none of them transposed.  Where g contracts slowly it needs far fewer
    of them than Picard.  A sample whose recursion breaks down starts afresh from where it is (where I − M is nearly
    skew-symmetric that is of no use, and `NormalCG` is the remedy).  The criterion is applied to the residual
    b − (I − M) c relative to b.

    Raises:
        ValueError: the step is not affine, as that of a forward solve is in general.
    """

    def _solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        if step.affine is None:
            raise ValueError("BiCGStab solves affine steps only: use it backward, as BackwardFPI(BiCGStab())")
        watch, affine, c = Watch(self, step, x0), step.affine, x0
        b = affine.constant or watch.evaluate([torch.zeros_like(leaf) for leaf in c])
        r = minus(watch.evaluate(c), c)
        shadow, p, rho = r, r, dot(r, r)
        for n in range(1, self.max_iter + 1):
            if watch.check(n, r, b):
                break
            used, moved = p, affine.product(p)
            v = minus(p, moved)
            alpha = ratio(rho, dot(shadow, v))
            s = axpy(-alpha, v, r)
            t = minus(s, affine.product(s))
            watch.count()
            watch.count()
            omega = ratio(dot(t, s), dot(t, t))
            c = watch.keep_frozen(c, watch.release(c, axpy(omega, s, axpy(alpha, p, c))))
            r = watch.keep_frozen(r, watch.release(r, axpy(-omega, t, s)))
            size, before, rho = dot(r, r), rho, dot(shadow, r)
            beta = ratio(rho, before) * ratio(alpha, omega)
            lost = ~(rho.abs() > _LOST * (size * dot(shadow, shadow)).sqrt()) | ~(beta.abs() > 0) | ~beta.isfinite()
            p = axpy(beta, axpy(-omega, v, p), r)
            if bool(lost.any()):
                shadow, p, rho = select(lost, r, shadow), select(lost, r, p), torch.where(lost, size, rho)
            rows = watch.settle(c, partial(same_product, used, moved))
            if rows is not None:
                b, c, r, p, shadow = (take(state, rows) for state in (b, c, r, p, shadow))
                rho = rho[rows]
                assert watch.step.affine is not None
                affine = watch.step.affine
        else:
            watch.check(n, r, b)
        return watch.finish(c)
