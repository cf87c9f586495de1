"""Anderson acceleration, per sample, with a scale-free ridge and a safeguard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.solvers.base import Rule, Solver
from fpi.solvers.history import History, dots, put, put_difference
from fpi.solvers.step import State


@dataclass(frozen=True, kw_only=True)
class Anderson(Solver):
    """Type-II Anderson acceleration in difference form (Walker & Ni 2011), every sample on its own.

    Args:
        memory: how many past differences are mixed.
        mixing: β of the method; 1 uses g(x_n) fully.
        ridge: Tikhonov term *relative to the diagonal* of the Gram matrix, hence independent of the state's scale;
            `None` takes 1e-10 in float64 and 1e-6 otherwise.
        growth: a sample whose residual ‖g(x) − x‖ exceeds `growth` times its best so far takes a plain step and
            forgets its history (the safeguard for maps on which extrapolation misleads).
    """

    memory: int = 5
    mixing: float = 1.0
    ridge: float | None = None
    growth: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 1:
            raise ValueError(f"Anderson(memory=...) must be ≥ 1, got {self.memory!r}")

    def _begin(self, x: State) -> Rule:
        return _Mixer(self, x)


class _Mixer(History):
    """u − Δu γ with u = x + β f and γ = argmin ‖f − Δf γ‖², from the normal equations of the window."""

    def __init__(self, options: Anderson, x: State) -> None:
        super().__init__(options.memory, options.growth, options.mixing, x)
        self.ridge = options.ridge if options.ridge is not None else 1e-10 if x[0].dtype == torch.float64 else 1e-6
        self.tiny = torch.full((), torch.finfo(x[0].dtype).tiny, dtype=x[0].dtype, device=x[0].device)
        self.df: Tensor | None = None  # (batch, memory, features) differences of residuals
        self.du: Tensor | None = None  # (batch, memory, features) differences of plain steps
        self.gram: Tensor | None = None  # (batch, memory, memory) Δfᵀ Δf and ridge, updated row by row
        self.along: Tensor | None = None  # (batch, 1, memory) Δfᵀ f

    def windows(self) -> list[str]:
        return ["df", "du", "gram", "along"]

    def forget(self, samples: Tensor) -> None:
        super().forget(samples)
        assert self.gram is not None  # the zeroed part of the system must stay regular: any diagonal will do
        self.gram = self.gram + torch.diag_embed(samples[:, None].expand(-1, self.memory).to(self.gram))

    def observe(self, plain: Tensor, f: Tensor, last: tuple[Tensor, Tensor], slot: int) -> None:
        if self.df is None or self.du is None or self.gram is None or self.along is None:
            self.df = f.new_zeros(f.shape[0], self.memory, f.shape[2])
            self.du = torch.zeros_like(self.df)
            self.gram = f.new_zeros(f.shape[0], self.memory, self.memory)
            self.along = f.new_zeros(f.shape[0], 1, self.memory)
        self.du = put_difference(self.du, plain, last[0], slot)
        self.df = put_difference(self.df, f, last[1], slot)
        along = dots(self.df, f)
        # the new row is Δfᵀ (f − f_last): no other pass over the window; its diagonal entry is a square, with the ridge
        length = torch.linalg.vector_norm(self.df.narrow(1, slot, 1), dim=2, keepdim=True)
        square = torch.addcmul(self.tiny, length, length, value=1 + self.ridge)
        row = put(along - self.along, square, slot, dim=2)
        self.gram = put(put(self.gram, row, slot), row.mT, slot, dim=2)
        self.along = along

    def propose(self, plain: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        assert self.du is not None and self.gram is not None and self.along is not None
        gram, along, du = self.gram, self.along, self.du
        if self.n < self.memory:
            gram, along, du = gram[:, : self.n, : self.n], along[:, :, : self.n], du[:, : self.n]
        # a singular system gives what is not finite, which the safeguard turns into a plain step
        gamma = torch.linalg.solve_ex(gram, along.mT)[0].mT
        return torch.baddbmm(plain, gamma, du, alpha=-1), gamma
