"""Conjugate residuals, per sample: a linear solver for affine steps with a symmetric matrix, as those of FPI_GD."""

from __future__ import annotations

from dataclasses import dataclass

from fpi.solvers.krylov import LinearSolver, Recursion
from fpi.solvers.samples import axpy, dot, minus, ratio
from fpi.solvers.step import Affine, State


@dataclass(frozen=True, kw_only=True)
class ConjugateResidual(LinearSolver):
    """Solves c = M c + b, the backward solve (4.10), by conjugate residuals (Saad 2003, algorithm 6.20).

    For a *symmetric* I − M only, as a gradient step has: with g = x − γ ∇f, I − ∂g/∂x = γ ∇²f.  There it needs the
    fewest products of all solvers, one an iteration, and no contraction: as `BackwardFPI(ConjugateResidual())` it is
    exact to any order.  ∇²f should be positive definite, as at a minimum; on an indefinite one the recursion may break
    down (`NormalCG` is the remedy).  The criterion is applied to the residual b − (I − M) c relative to b, so that a
    solve that fails, for want of symmetry too, says so.

    Raises:
        ValueError: the step is not affine, as that of a forward solve is in general.
    """

    def _recursion(self, r: State) -> Recursion:
        return _Recursion(r)


class _Recursion(Recursion):
    products, states, numbers = 1, ("p", "q"), ("rho",)

    def __init__(self, r: State) -> None:
        self.p, self.q, self.rho, self.first = r, r, dot(r, r), True

    def step(self, affine: Affine, c: State, r: State) -> tuple[State, State]:
        self.used, self.moved = r, affine.product(r)
        s, before = minus(r, self.moved), self.rho
        self.rho = dot(r, s)
        if self.first:
            self.p, self.q, self.first = r, s, False
        else:
            beta = ratio(self.rho, before)
            self.p, self.q = axpy(beta, self.p, r), axpy(beta, self.q, s)
        alpha = ratio(self.rho, dot(self.q, self.q))
        return axpy(alpha, self.p, c), axpy(-alpha, self.q, r)
