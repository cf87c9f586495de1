"""Conjugate residuals, per sample: a linear solver for affine steps with a symmetric matrix, as those of FPI_GD."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from fpi.info import SolveInfo
from fpi.solvers.base import Solver
from fpi.solvers.samples import axpy, dot, minus, ratio, same_product
from fpi.solvers.step import State, Step, take
from fpi.solvers.watch import Watch


@dataclass(frozen=True, kw_only=True)
class ConjugateResidual(Solver):
    """Solves c = M c + b, the backward solve (4.10), by conjugate residuals (Saad 2003, algorithm 6.20).

    For a *symmetric* I − M only, as a gradient step has: with g = x − γ ∇f, I − ∂g/∂x = γ ∇²f.  There it needs the
    fewest products of all solvers, one an iteration, and no contraction: as `BackwardFPI(ConjugateResidual())` it is
    exact to any order.  ∇²f should be positive definite, as at a minimum; on an indefinite one the recursion may break
    down (`NormalCG` is the remedy).  The criterion is applied to the residual b − (I − M) c relative to b, so that a
    solve that fails, for want of symmetry too, says so.

    Raises:
        ValueError: the step is not affine, as that of a forward solve is in general.
    """

    def _solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        if step.affine is None:
            raise ValueError(
                "ConjugateResidual solves affine steps only: use it backward, as BackwardFPI(ConjugateResidual())"
            )
        watch, affine, c = Watch(self, step, x0), step.affine, x0
        b = affine.constant or watch.evaluate([torch.zeros_like(leaf) for leaf in c])
        r = minus(watch.evaluate(c), c)
        p: State | None = None
        q, rho = r, dot(r, r)
        for n in range(1, self.max_iter + 1):
            if watch.check(n, r, b):
                break
            used, moved = r, affine.product(r)
            watch.count()
            s, before = minus(r, moved), rho
            rho = dot(r, s)
            if p is None:
                p, q = r, s
            else:
                beta = ratio(rho, before)
                p, q = axpy(beta, p, r), axpy(beta, q, s)
            alpha = ratio(rho, dot(q, q))
            c = watch.keep_frozen(c, watch.release(c, axpy(alpha, p, c)))
            r = watch.keep_frozen(r, watch.release(r, axpy(-alpha, q, r)))
            rows = watch.settle(c, partial(same_product, used, moved))
            if rows is not None:
                b, c, r, p, q = (take(state, rows) for state in (b, c, r, p, q))
                rho = rho[rows]
                assert watch.step.affine is not None
                affine = watch.step.affine
        else:
            watch.check(n, r, b)
        return watch.finish(c)
