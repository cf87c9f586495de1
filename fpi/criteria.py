"""When has an iteration converged?  Equations (5.4) and (5.6) of the thesis as small objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["sample", "batch"]

_RANGE = 1e-15  # its inverse square bounds (5.4) where x_n = 0, whatever the scale of the state
_ZERO = 1.4e-19  # a norm below this is zero (float32 has no smaller squares)
_HALF = (torch.float16, torch.bfloat16)
_SUPPORTED = {torch.float64: 1e-24, torch.float32: 1e-12, torch.float16: 1e-5, torch.bfloat16: 1e-4}


def norm(leaves: Sequence[Tensor], scope: Scope) -> Tensor:
    """Euclidean norm over all leaves: shape (batch,) for `scope="sample"`, (1,) for `scope="batch"`.

    Half-precision leaves are summed in float32, so that the criterion itself does not overflow.
    """
    norms = [torch.linalg.vector_norm(_rows(leaf, scope), dim=1) for leaf in leaves]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), dim=0)


def _rows(leaf: Tensor, scope: Scope) -> Tensor:
    if leaf.dtype in _HALF:
        leaf = leaf.float()
    if scope == "batch":
        return leaf.reshape(1, -1)
    return leaf if leaf.dim() == 2 else leaf.flatten(1) if leaf.dim() > 2 else leaf[:, None]


@dataclass(frozen=True)
class Relative:
    """β = ‖x_{n+1} − x_n‖² / ‖x_n‖² ≤ tol (eq. 5.4).

    Args:
        tol: threshold on the *squared* relative change; 1e-12 is a relative change of 1e-6.  `None` takes what the
            precision of state and evaluation supports: 1e-24 in float64, 1e-12 in float32, 1e-5 in float16 and 1e-4 in
            bfloat16.
        scope: `"sample"` judges every sample alone; `"batch"` takes the norms over the whole batch.
    """

    tol: float | None = None
    scope: Scope = "sample"

    def __post_init__(self) -> None:
        _validate(self.tol, self.scope)

    def threshold(self, dtype: torch.dtype) -> float:
        """The tolerance that applies to a state of this dtype."""
        if self.tol is not None:
            return self.tol
        return _SUPPORTED.get(dtype, 1e-12)

    def residual(self, change: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        """β per sample, shape (batch,), or of the batch, shape (1,), for a change g(x) − x."""
        moved = norm(change, self.scope)
        size = norm(x, self.scope).add_(moved, alpha=_RANGE).add_(_ZERO)
        return moved.div_(size).square_()


@dataclass(frozen=True)
class Absolute:
    """β′ = ‖x_{n+1} − x_n‖² ≤ tol (eq. 5.6).

    Not scale-free: as the criterion of a *backward* solve it stops at once when the loss is small
    (a mean over many entries, say), and the gradient is then far from exact.  Prefer `Relative` there.
    """

    tol: float
    scope: Scope = "sample"

    def __post_init__(self) -> None:
        _validate(self.tol, self.scope)

    def threshold(self, dtype: torch.dtype) -> float:
        """The tolerance, whatever the state's dtype."""
        return self.tol

    def residual(self, change: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        """β′ per sample, shape (batch,), or of the batch, shape (1,), for a change g(x) − x."""
        return norm(change, self.scope).square_()


Criterion = Relative | Absolute


def _validate(tol: float | None, scope: str) -> None:
    if tol is not None and not tol >= 0:
        raise ValueError(f"tol must be a number ≥ 0, got {tol!r}")
    if scope not in ("sample", "batch"):
        raise ValueError(f"scope must be 'sample' or 'batch', got {scope!r}")
