"""The loop every solver shares: evaluate, check, freeze what has converged, propose the next state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fpi.criteria import Criterion, Relative
from fpi.info import OnFailure, SolveInfo, announce, non_finite

State = list[Tensor]
Step = Callable[[State], State]
Objective = Callable[[State], tuple[Tensor, State]]
Propose = Callable[[State, State], State]


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Options common to all solvers.

    Args:
        criterion: :class:`fpi.Relative` (eq. 5.4) or :class:`fpi.Absolute` (eq. 5.6), per sample or per batch.
        max_iter: cap on the iterations.
        check_every: evaluate the criterion every so many iterations (each check reads one number from the device).
        on_failure: what to do when a sample has not converged at the cap: ``"warn"``, ``"raise"`` or ``"ignore"``.
            Non-finite values raise :class:`fpi.FixedPointError` unless the policy is ``"ignore"``.
        trace: keep the residuals of every check in :attr:`fpi.SolveInfo.trace`.
    """

    criterion: Criterion = field(default_factory=Relative)
    max_iter: int = 500
    check_every: int = 1
    on_failure: OnFailure = "warn"
    trace: bool = False

    def __post_init__(self) -> None:
        for name in ("max_iter", "check_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{type(self).__name__}({name}=...) must be an integer ≥ 1, got {value!r}")
        if self.on_failure not in ("warn", "raise", "ignore"):
            raise ValueError(f"on_failure must be 'warn', 'raise' or 'ignore', got {self.on_failure!r}")

    def _begin(self, x: State) -> Propose:
        """A fresh rule (x_n, g(x_n)) → next state, with whatever history it keeps."""
        raise NotImplementedError  # pragma: no cover - every public solver defines it

    def solve(self, step: Step, x0: State, objective: Objective | None = None) -> tuple[State, SolveInfo]:
        """Iterate ``step`` from ``x0``; returns the last g(x_n) of every sample and the diagnostics.

        A sample that has converged is frozen: its value is the one it would have if it were solved alone.
        """
        batch = x0[0].shape[0]
        x, propose = x0, self._begin(x0)
        watch = _Watch(batch, x0[0], type(self).__name__, self)
        for n in range(1, self.max_iter + 1):
            gx = step(x)
            if n % self.check_every == 0 or n == self.max_iter:
                if watch.check(n, self.criterion.residual(gx, x)) or n == self.max_iter:
                    x = watch.keep_frozen(x, gx)
                    break
                proposal = watch.release(gx, propose(x, gx))
            else:
                proposal = propose(x, gx)
            x = watch.keep_frozen(x, proposal)
        info = watch.info(evaluations=n)
        announce(info, self.on_failure, type(self).__name__)
        return x, info


class _Watch:
    """Per-sample book-keeping of a solve; touches the device once per check."""

    def __init__(self, batch: int, like: Tensor, name: str, solver: Solver) -> None:
        self.batch, self.like, self.name, self.solver = batch, like, name, solver
        self.tol = solver.criterion.threshold(like.dtype)
        self.frozen: Tensor | None = None  # (batch,) samples that stopped before this check
        self.fresh: Tensor | None = None  # (batch,) samples that stopped at this check
        self.stopped_at: Tensor | None = None
        self.residual = torch.full((1,), math.inf)
        self.n = 0
        self.trace: list[Tensor] = []

    def check(self, n: int, residual: Tensor) -> bool:
        """Record a check; True when every sample has met the criterion."""
        tol, self.n, self.fresh = self.tol, n, None
        if self.frozen is not None:
            residual = torch.where(self.frozen, self.residual, residual)
        self.residual = residual
        if self.solver.trace:
            self.trace.append(residual.expand(self.batch).clone())
        if residual.numel() == 0:
            return True
        if residual.numel() == 1:
            low = high = residual.item()
        else:
            low, high = (value.item() for value in torch.aminmax(residual))
        if not math.isfinite(high) and self.solver.on_failure != "ignore":
            raise non_finite(self.name, n, high)
        if math.isnan(low):  # aminmax hands on a nan: the other samples still converge and freeze
            low = residual.nan_to_num(nan=math.inf).min().item()
        if high <= tol:
            return True
        if low <= tol and residual.numel() == self.batch:
            done = residual <= tol
            self.fresh = done if self.frozen is None else done & ~self.frozen
            stopped = torch.zeros_like(done, dtype=torch.long) if self.stopped_at is None else self.stopped_at
            self.stopped_at = torch.where(self.fresh, n, stopped)
        return False

    def release(self, gx: State, proposal: State) -> State:
        """Samples that converged at this check take g(x_n), then count as frozen."""
        if self.fresh is None:
            return proposal
        return _select(self.fresh, gx, proposal)

    def keep_frozen(self, x: State, new: State) -> State:
        """Frozen samples keep their state; the ones released at this check freeze from now on."""
        if self.frozen is not None:
            new = _select(self.frozen, x, new)
        self.freeze()
        return new

    def freeze(self) -> None:
        """From now on, the samples that converged at this check count as frozen."""
        if self.fresh is not None:
            self.frozen = self.fresh if self.frozen is None else self.frozen | self.fresh
            self.fresh = None

    def info(self, evaluations: int) -> SolveInfo:
        residual = self.residual.expand(self.batch).to(self.like.device)
        converged = residual <= self.tol
        iterations = torch.full((self.batch,), self.n, device=self.like.device)
        if self.stopped_at is not None:
            iterations = torch.where(self.stopped_at > 0, self.stopped_at, iterations)
        return SolveInfo(iterations, residual.detach(), converged, evaluations, self.trace)


def _select(mask: Tensor, a: Sequence[Tensor], b: Sequence[Tensor]) -> State:
    """Rows of ``a`` where ``mask``, else of ``b`` (``where``, so that a nan in the other never leaks in)."""
    return [torch.where(mask.reshape(-1, *[1] * (u.dim() - 1)), u, v) for u, v in zip(a, b, strict=True)]
