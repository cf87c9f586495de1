"""Plain fixed-point iteration (eq. 4.1), optionally damped."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fpi.solvers.base import Rule, Solver
from fpi.solvers.step import State


@dataclass(frozen=True, kw_only=True)
class Picard(Solver):
    """x_{n+1} = (1 − damping) · x_n + damping · g(x_n); `damping=1` is the thesis' iteration (4.1).

    Damping below 1 keeps the fixed points and tames a Jacobian with large *negative* eigenvalues (a 2-cycle).
    The criterion is always measured on g(x_n) − x_n.
    """

    damping: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.damping <= 1:
            raise ValueError(f"Picard(damping=...) must lie in (0, 1], got {self.damping!r}")

    def _begin(self, x: State) -> Rule:
        return _Damped(self.damping)


class _Damped(Rule):
    def __init__(self, damping: float) -> None:
        self.damping = damping

    def __call__(self, x: State, gx: State) -> State:
        return gx if self.damping == 1 else [torch.lerp(a, b, self.damping) for a, b in zip(x, gx, strict=True)]
