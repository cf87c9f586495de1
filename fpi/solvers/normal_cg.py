"""Conjugate gradients on the normal equations, per sample: a linear solver for affine steps."""

from __future__ import annotations

from dataclasses import dataclass

from fpi.criteria import norm
from fpi.solvers.krylov import LinearSolver, Recursion
from fpi.solvers.samples import axpy, minus, ratio
from fpi.solvers.step import Affine, State


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(LinearSolver):
    """Solves c = M c + b as (I − M)ᵀ(I − M) c = (I − M)ᵀ b by conjugate gradients (CGNR; Saad 2003, algorithm 8.4).

    It needs no contraction, only that I − M is regular, and two products an iteration: one with M, one with Mᵀ.
    The criterion is applied to the residual b − (I − M) c relative to b.  It works on steps that are affine, which a
    backward solve (4.10) is and a forward solve in general is not; use it through `fpi.NormalCG`.

    Raises:
        ValueError: the step is not affine.
    """

    def _recursion(self, r: State) -> Recursion:
        return _Recursion(r)

    def _adjoint(self) -> str:
        return "NormalCG()"


class _Recursion(Recursion):
    products, states, numbers = 2, ("p",), ("size",)

    def __init__(self, r: State) -> None:
        self.p, self.size, self.first = r, norm(r, "sample"), True

    def step(self, affine: Affine, c: State, r: State) -> tuple[State, State]:
        s = minus(r, affine.transposed(r))
        before, self.size = self.size, norm(s, "sample")
        # the ratio before the square: saturated outputs have gradients of 1e-18, whose squares float32 lacks
        self.p = s if self.first else axpy(ratio(self.size, before).square_(), self.p, s)
        self.used, self.moved, self.first = self.p, affine.product(self.p), False
        q = minus(self.p, self.moved)
        length = ratio(self.size, norm(q, "sample")).square_()
        return axpy(length, self.p, c), axpy(-length, q, r)
