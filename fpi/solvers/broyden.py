"""Broyden's method with limited memory, per sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.solvers.base import Rule, Solver
from fpi.solvers.history import History, dots, put
from fpi.solvers.step import State


@dataclass(frozen=True, kw_only=True)
class Broyden(Solver):
    """Broyden's (good) method on f(x) = g(x) − x = 0, every sample on its own.

    H ≈ (∂f/∂x)⁻¹ is kept as −I + Σ u_k v_kᵀ, so that the first step is g(x_0); the update makes H Δf = Δx hold for the
    newest differences (Broyden 1965; the sum form of Bai, Kolter & Koltun 2019).  Once the memory is full the oldest
    term is dropped before the newest one is computed, which keeps that equation.

    Args:
        memory: terms kept.  Far fewer evaluations than Picard on slow or expanding maps, at `4 · memory` products of
            the state's size an iteration.
        growth: safeguard, as for `fpi.Anderson`.
    """

    memory: int = 20
    growth: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 1:
            raise ValueError(f"Broyden(memory=...) must be ≥ 1, got {self.memory!r}")

    def _begin(self, x: State) -> Rule:
        return _Updater(self, x)


class _Updater(History):
    """The terms u_k v_kᵀ of H + I."""

    def __init__(self, options: Broyden, x: State) -> None:
        super().__init__(options.memory, options.growth, 1.0, x)
        self.u: Tensor | None = None  # (batch, memory, features)
        self.v: Tensor | None = None  # (batch, memory, features)

    def windows(self) -> list[str]:
        return ["u", "v"]

    def observe(self, plain: Tensor, f: Tensor, last: tuple[Tensor, Tensor], slot: int) -> None:
        if self.u is None or self.v is None:
            self.u = f.new_zeros(f.shape[0], self.memory, f.shape[2])
            self.v = torch.zeros_like(self.u)
        nothing = torch.zeros_like(f)
        self.u, self.v = put(self.u, nothing, slot), put(self.v, nothing, slot)
        df = f - last[1]
        dx = plain - last[0] - df
        dual = self._sum(self.v, self.u, dx) - dx
        curvature = (dual * df).sum(2, keepdim=True)
        bound = [torch.linalg.vector_norm(w, dim=2, keepdim=True) for w in (dual, df)]
        precision = torch.finfo(df.dtype)
        usable = curvature.abs() > precision.eps * bound[0] * bound[1] + precision.tiny
        # the inner choice: where a gradient flows, 0 · inf would make it nan
        factor = torch.where(usable, torch.where(usable, curvature, 1).reciprocal(), 0)
        error = dx + df - self._sum(self.u, self.v, df)  # Δx − H Δf
        self.u = put(self.u, error * factor, slot)
        self.v = put(self.v, dual, slot)

    def propose(self, plain: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        assert self.u is not None and self.v is not None
        u, v = self._used(self.u), self._used(self.v)
        weights = dots(v, f)
        return torch.baddbmm(plain, weights, u, alpha=-1), weights  # x + f − Σ u_k v_kᵀ f

    def _sum(self, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """Σ u_k v_kᵀ w."""
        u, v = self._used(u), self._used(v)
        return torch.bmm(dots(v, w), u)

    def _used(self, window: Tensor) -> Tensor:
        return window[:, : min(self.n + 1, self.memory)]
