"""Broyden's method with limited memory, per sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.solvers.base import Rule, Solver
from fpi.solvers.history import History, put
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
        super().__init__(options.memory, options.growth, x)
        self.u: Tensor | None = None  # (batch, memory, features)
        self.v: Tensor | None = None  # (batch, memory, features)

    def windows(self) -> list[str]:
        return ["u", "v"]

    def observe(self, dx: Tensor, df: Tensor, slot: int) -> None:
        if self.u is None or self.v is None:
            self.u = df.new_zeros(df.shape[0], self.memory, df.shape[1])
            self.v = torch.zeros_like(self.u)
        nothing = torch.zeros_like(df)
        self.u, self.v = put(self.u, nothing, slot), put(self.v, nothing, slot)
        inverse_df = self._apply(self.u, self.v, df)
        dual = self._apply(self.v, self.u, dx)
        curvature = (dual * df).sum(1, keepdim=True)
        bound = torch.linalg.vector_norm(dual, dim=1) * torch.linalg.vector_norm(df, dim=1)
        usable = curvature.abs() > torch.finfo(df.dtype).eps * bound[:, None]
        divisor = torch.where(usable, curvature, 1)  # not inside of the choice below: where a gradient flows, 0 · inf
        self.u = put(self.u, torch.where(usable, (dx - inverse_df) / divisor, 0), slot)
        self.v = put(self.v, torch.where(usable, dual, 0), slot)

    def propose(self, x: Tensor, f: Tensor) -> Tensor:
        assert self.u is not None and self.v is not None
        return x - self._apply(self.u, self.v, f)

    def _apply(self, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """(−I + Σ u_k v_kᵀ) w."""
        used = min(self.n + 1, self.memory)
        u, v = u[:, :used], v[:, :used]
        return torch.baddbmm(w[:, None], torch.bmm(v, w[:, :, None]).mT, u, beta=-1)[:, 0]
