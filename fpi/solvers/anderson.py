"""Anderson acceleration, per sample, with a scale-free ridge and a safeguard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.solvers.base import Propose, Solver, State


@dataclass(frozen=True, kw_only=True)
class Anderson(Solver):
    """Type-II Anderson acceleration in difference form (Walker & Ni 2011), every sample on its own.

    Args:
        memory: how many past differences are mixed.
        mixing: β of the method; 1 uses g(x_n) fully.
        ridge: Tikhonov term *relative to the diagonal* of the Gram matrix, hence independent of the state's scale;
            ``None`` takes 1e-10 in float64 and 1e-6 otherwise.
        growth: a sample whose residual ‖g(x) − x‖ exceeds ``growth`` times its best so far takes a plain step and
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

    def _begin(self, x: State) -> Propose:
        return _Mixer(self, x)


class _Mixer:
    """History of one solve: differences of states and of residuals, as (batch, memory, features)."""

    def __init__(self, options: Anderson, x: State) -> None:
        self.options = options
        self.shapes = [leaf.shape for leaf in x]
        self.sizes = [leaf[0].numel() if leaf.shape[0] else 0 for leaf in x]
        self.dx: list[Tensor] = []
        self.df: list[Tensor] = []
        self.last: tuple[Tensor, Tensor] | None = None
        self.best: Tensor | None = None

    def __call__(self, x: State, gx: State) -> State:
        flat = torch.cat([leaf.flatten(1) if leaf.dim() > 1 else leaf[:, None] for leaf in x], dim=1)
        residual = torch.cat([leaf.flatten(1) if leaf.dim() > 1 else leaf[:, None] for leaf in gx], dim=1) - flat
        if self.last is not None:
            self.dx = (self.dx + [flat - self.last[0]])[-self.options.memory :]
            self.df = (self.df + [residual - self.last[1]])[-self.options.memory :]
        self.last = (flat, residual)
        return self._split(self._next(flat, residual))

    def _next(self, x: Tensor, f: Tensor) -> Tensor:
        plain = x + self.options.mixing * f
        size = torch.linalg.vector_norm(f, dim=1)
        previous = size if self.best is None else self.best
        self.best = torch.minimum(size, previous)
        if not self.df:
            return plain
        grown = size > self.options.growth * previous
        dx, df = torch.stack(self.dx, 1), torch.stack(self.df, 1)
        ridge = self.options.ridge if self.options.ridge is not None else (1e-10 if f.dtype == torch.float64 else 1e-6)
        gram = df @ df.mT
        diagonal = gram.diagonal(dim1=1, dim2=2)
        gram = gram + torch.diag_embed(ridge * diagonal + torch.finfo(f.dtype).tiny)
        gamma, failed = torch.linalg.solve_ex(gram, df @ f[:, :, None])
        mixed = plain - ((dx + self.options.mixing * df).mT @ gamma)[:, :, 0]
        distrust = grown | (failed != 0) | ~torch.isfinite(mixed).all(1)
        if bool(distrust.any()):
            keep = ~distrust[:, None]
            self.dx = [torch.where(keep, d, 0) for d in self.dx]
            self.df = [torch.where(keep, d, 0) for d in self.df]
            self.best = torch.where(distrust, size, self.best)
            mixed = torch.where(keep, mixed, plain)
        return mixed

    def _split(self, flat: Tensor) -> State:
        return [part.reshape(shape) for part, shape in zip(flat.split(self.sizes, 1), self.shapes, strict=True)]
