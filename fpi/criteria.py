"""When has an iteration converged?  Equations (5.4) and (5.6) of the thesis as small objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["sample", "batch"]

_RANGE = 1e-30  # bounds (5.4) by its reciprocal where x_n = 0, whatever the scale of the state
_ZERO = 2e-38  # a squared norm below this is zero (float32 has no smaller numbers)
_HALF = (torch.float16, torch.bfloat16)


def squared_norm(leaves: Sequence[Tensor], scope: Scope) -> Tensor:
    """Sum of squares over all leaves: shape (batch,) for ``scope="sample"``, (1,) for ``scope="batch"``.

    Half-precision leaves are summed in float32, so that the criterion itself does not overflow.
    """
    total: Tensor | None = None
    for leaf in leaves:
        if leaf.dtype in _HALF:
            leaf = leaf.float()
        flat = leaf.reshape(1, -1) if scope == "batch" else leaf.flatten(1) if leaf.dim() > 1 else leaf[:, None]
        part = torch.linalg.vector_norm(flat, dim=1).square_()
        total = part if total is None else total + part
    assert total is not None, "a state has at least one tensor"
    return total


@dataclass(frozen=True)
class Relative:
    """β = ‖x_{n+1} − x_n‖² / ‖x_n‖² ≤ tol (eq. 5.4).

    Args:
        tol: threshold on the *squared* relative change; 1e-12 is a relative change of 1e-6.  ``None`` takes what the
            state's precision supports: 1e-24 in float64, 1e-12 in float32, 1e-5 in half precision.
        scope: ``"sample"`` judges every sample alone; ``"batch"`` takes the norms over the whole batch.
    """

    tol: float | None = None
    scope: Scope = "sample"

    def __post_init__(self) -> None:
        _validate(self.tol, self.scope)

    def threshold(self, dtype: torch.dtype) -> float:
        """The tolerance that applies to a state of this dtype."""
        if self.tol is not None:
            return self.tol
        return 1e-24 if dtype == torch.float64 else 1e-5 if dtype in _HALF else 1e-12

    def residual(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
        """β per sample, shape (batch,), or of the batch, shape (1,)."""
        change = squared_norm([a - b for a, b in zip(new, old, strict=True)], self.scope)
        size = squared_norm(old, self.scope).add_(change, alpha=_RANGE).add_(_ZERO)
        return change.div_(size)


@dataclass(frozen=True)
class Absolute:
    """β′ = ‖x_{n+1} − x_n‖² ≤ tol (eq. 5.6).

    Not scale-free: as the criterion of a *backward* solve it stops at once when the loss is small
    (a mean over many entries, say), and the gradient is then far from exact.  Prefer :class:`Relative` there.
    """

    tol: float
    scope: Scope = "sample"

    def __post_init__(self) -> None:
        _validate(self.tol, self.scope)

    def threshold(self, dtype: torch.dtype) -> float:
        """The tolerance, whatever the state's dtype."""
        return self.tol

    def residual(self, new: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
        """β′ per sample, shape (batch,), or of the batch, shape (1,)."""
        return squared_norm([a - b for a, b in zip(new, old, strict=True)], self.scope)


Criterion = Relative | Absolute


def _validate(tol: float | None, scope: str) -> None:
    if tol is not None and not tol >= 0:
        raise ValueError(f"tol must be a number ≥ 0, got {tol!r}")
    if scope not in ("sample", "batch"):
        raise ValueError(f"scope must be 'sample' or 'batch', got {scope!r}")
