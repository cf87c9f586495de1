"""BiCGStab, per sample: a linear solver for affine steps that needs no transposed products."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fpi.solvers.krylov import LinearSolver, Recursion
from fpi.solvers.samples import axpy, dot, minus, ratio, select
from fpi.solvers.step import Affine, State

_LOST = 1e-6  # cosine between residual and shadow below which the recursion no longer means anything


@dataclass(frozen=True, kw_only=True)
class BiCGStab(LinearSolver):
    """Solves c = M c + b, the backward solve (4.10), by stabilised bi-conjugate gradients.

    (van der Vorst 1992; Saad 2003, algorithm 7.7.)  As `BackwardFPI(BiCGStab())` it is exact to any order and needs no
    contraction; an iteration takes two products, none of them transposed.  Where g contracts slowly it needs far fewer
    of them than Picard.  A sample whose recursion breaks down starts afresh from where it is (where I − M is nearly
    skew-symmetric that is of no use, and `NormalCG` is the remedy).  The criterion is applied to the residual
    b − (I − M) c relative to b.

    Raises:
        ValueError: the step is not affine, as that of a forward solve is in general.
    """

    def _recursion(self, r: State) -> Recursion:
        return _Recursion(r)


class _Recursion(Recursion):
    products, states, numbers = 2, ("p", "shadow"), ("rho",)

    def __init__(self, r: State) -> None:
        self.shadow, self.p, self.rho = r, r, dot(r, r)

    def step(self, affine: Affine, c: State, r: State) -> tuple[State, State]:
        self.used, self.moved = self.p, affine.product(self.p)
        self.v = minus(self.p, self.moved)
        self.alpha = ratio(self.rho, dot(self.shadow, self.v))
        s = axpy(-self.alpha, self.v, r)
        t = minus(s, affine.product(s))
        self.omega = ratio(dot(t, s), dot(t, t))
        return axpy(self.omega, s, axpy(self.alpha, self.p, c)), axpy(-self.omega, t, s)

    def prepare(self, r: State) -> None:
        size, before, rho = dot(r, r), self.rho, dot(self.shadow, r)
        beta = ratio(rho, before) * ratio(self.alpha, self.omega)
        cosine = _LOST * (size * dot(self.shadow, self.shadow)).sqrt()
        lost = ~(rho.abs() > cosine) | ~(beta.abs() > 0) | ~beta.isfinite()
        self.p, self.rho = axpy(beta, axpy(-self.omega, self.v, self.p), r), rho
        if bool(lost.any()):
            self.shadow, self.p = select(lost, r, self.shadow), select(lost, r, self.p)
            self.rho = torch.where(lost, size, rho)
