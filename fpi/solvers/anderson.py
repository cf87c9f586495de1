"""Anderson acceleration, per sample, with a scale-free ridge and a safeguard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.solvers.base import Rule, Solver
from fpi.solvers.history import History, put
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
    """x + β f − (Δx + β Δf) γ with γ = argmin ‖f − Δf γ‖², from the normal equations of the window."""

    def __init__(self, options: Anderson, x: State) -> None:
        super().__init__(options.memory, options.growth, x)
        self.mixing = options.mixing
        self.ridge = options.ridge if options.ridge is not None else 1e-10 if x[0].dtype == torch.float64 else 1e-6
        self.df: Tensor | None = None  # (batch, memory, features) differences of residuals
        self.step: Tensor | None = None  # (batch, memory, features) Δx + β Δf
        self.gram: Tensor | None = None  # (batch, memory, memory) kept up to date one row at a time

    def windows(self) -> list[str]:
        return ["df", "step", "gram"]

    def plain(self, x: Tensor, f: Tensor) -> Tensor:
        return torch.add(x, f, alpha=self.mixing)

    def observe(self, dx: Tensor, df: Tensor, slot: int) -> None:
        if self.df is None:
            self.df = df.new_zeros(df.shape[0], self.memory, df.shape[1])
            self.step = torch.zeros_like(self.df)
            self.gram = df.new_zeros(df.shape[0], self.memory, self.memory)
        assert self.step is not None and self.gram is not None
        self.df = put(self.df, df, slot)
        self.step = put(self.step, torch.add(dx, df, alpha=self.mixing), slot)
        row = torch.bmm(self.df, df[:, :, None])[:, :, 0]
        self.gram = put(put(self.gram, row, slot).mT, row, slot)  # symmetric: rows and columns are one

    def propose(self, x: Tensor, f: Tensor) -> Tensor:
        assert self.df is not None and self.step is not None and self.gram is not None
        used = min(self.n, self.memory)
        gram = self.gram[:, :used, :used].clone()
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal.mul_(1 + self.ridge).add_(torch.finfo(f.dtype).tiny)
        right = torch.bmm(self.df[:, :used], f[:, :, None])
        # a singular system gives what is not finite, which the safeguard turns into a plain step
        gamma, _ = torch.linalg.solve_ex(gram, right)
        return self.plain(x, f) - torch.bmm(gamma.mT, self.step[:, :used])[:, 0]
