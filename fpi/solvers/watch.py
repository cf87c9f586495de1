"""Per-sample book-keeping of a solve: who has converged, who is frozen, who is still in the working batch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpi.info import ConvergenceWarning, SolveInfo, announce, non_finite
from fpi.solvers.samples import select
from fpi.solvers.step import State, Step

if TYPE_CHECKING:
    from fpi.solvers.base import Solver

_LONGEST = 32  # iterations between two checks, however far the end


class Watch:
    """Applies the criterion, freezes samples that meet it, and lets them leave the working batch.

    A check reads two numbers from the device; another one while some samples of the batch have converged, and one more
    once half of them have.
    """

    def __init__(self, solver: Solver, step: Step, x: State) -> None:
        self.solver, self.step, self.name = solver, step, type(solver).__name__
        if step.affine is not None:
            self.name += f" ({step.affine.role} solve)"
        self.batch, self.like = x[0].shape[0], x[0]
        self.tol = solver.criterion.threshold(step.precision or self.like.dtype)
        self.n = self.gap = 0
        self.evaluations = self.sample_evaluations = 0
        self.working = self.batch  # samples in the working batch
        self.numbers: Tensor | None = None  # their places in the whole batch; None: all of it
        self.frozen: Tensor | None = None  # (working,) samples that stopped before this check
        self.fresh: Tensor | None = None  # (working,) samples that stopped at this check
        self.done: Tensor | None = None  # (working,) both
        self.stopped = 0  # how many
        self.residual = self.before = torch.full((1,), math.nan, device=self.like.device)  # of this check, the last one
        self.low = math.nan  # the smallest residual of the working batch
        self.start: tuple[int, float] | None = None  # iteration and smallest residual at the second check
        self.stops: tuple[Tensor, Tensor] | None = None  # (working,) iteration of the stop, shrinking up to it
        self.left: tuple[State, Tensor, Tensor, Tensor] | None = None  # state, residual, stops of the whole batch
        self.trusted = False
        self.scratch: State | None = None
        self.trace: list[Tensor] = []

    def evaluate(self, x: State) -> State:
        """g of the working batch, counted."""
        self.count()
        return self.step.apply(x)

    def count(self) -> None:
        """One evaluation of the working batch."""
        self.evaluations += 1
        self.sample_evaluations += self.working

    def change(self, gx: State, x: State) -> State:
        """g(x) − x, for `check` only: the next call overwrites it (a fresh tensor costs more than the sum)."""
        if self.scratch is None or any(a.shape != b.shape for a, b in zip(self.scratch, x, strict=True)):
            self.scratch = [torch.empty_like(leaf) for leaf in x]
        return [torch.sub(_value(a), _value(b), out=c) for a, b, c in zip(gx, x, self.scratch, strict=True)]

    def check(self, n: int, change: State, x: State) -> bool:
        """Apply the criterion at iteration n to the change g(x) − x; True when every sample has met it.

        Raises:
            FixedPointError: a residual is not finite, unless the policy is `"ignore"`.
        """
        tol, self.fresh = self.tol, None
        residual = self.solver.criterion.residual(change, x)
        self.gap, self.n = n - self.n, n
        if self.frozen is not None:
            residual = torch.where(self.frozen, self.residual, residual)
        self.before, self.residual = self.residual, residual
        if self.solver.trace:
            self.trace.append(self._whole_residual().detach().clone())
        if residual.numel() == 0:
            return True
        if residual.numel() == 1:
            low = high = residual.item()
        else:
            extremes = torch.aminmax(residual)
            # one transfer from a device, where each costs a synchronisation
            low, high = torch.stack(extremes).tolist() if residual.is_cuda else (e.item() for e in extremes)
        if not math.isfinite(high) and self.solver.on_failure != "ignore":
            raise non_finite(self.name, n, high)
        if high <= tol:
            return True
        self.low = low
        # aminmax hands on a nan: the others still converge and freeze
        if (low <= tol or math.isnan(low)) and residual.numel() == self.working:
            done = residual <= tol
            stopped = int(done.sum())
            if stopped > self.stopped:
                self.fresh = done if self.frozen is None else done ^ self.frozen
                self.done, self.stopped = done, stopped
                self.stops = self._stops(self.fresh)
        return False

    def patience(self) -> int:
        """Iterations until the next check is worth its cost: half as many as the first sample still needs.

        At least: as if the sample nearest to its end were the one that has converged fastest since the last check, or
        as the smallest residual has on the average, if that is faster.  The first check does not count: relative to
        x0 = 0 any change is infinite.  A trace is of every iteration.
        """
        if self.solver.trace or self.n == self.gap:
            return 1
        low, shrinking = self.low, self.before / self.residual
        if not low > self.tol:  # some have met the criterion, or are not a number: they have no end to wait for
            going = self.residual > self.tol
            low = torch.where(going, self.residual, math.inf).min().item()
            shrinking = torch.where(going, shrinking, 0)
        if self.start is None:
            self.start = (self.n, low)
            return 1
        since, first = self.start
        fastest = shrinking.max().item()
        latest = math.log(fastest) / self.gap if fastest > 0 else 0.0
        speed = max(latest, (math.log(first) - math.log(low)) / (self.n - since))
        left = math.log(low / self.tol) / speed if self.tol > 0 and speed > 0 else math.inf
        return max(1, int(min(left / 2, 2 * self.n, _LONGEST)))

    def _stops(self, fresh: Tensor | None) -> tuple[Tensor, Tensor]:
        """The records, with those of the samples that stop now; of all that have none if `fresh` is not said."""
        shrinking = (self.residual / self.before).pow(0.5 / max(self.gap, 1))
        if self.stops is None:
            n = torch.full_like(self.residual, self.n, dtype=torch.long)
            return (n, shrinking) if fresh is None else (torch.where(fresh, n, 0), shrinking)
        undecided = self.stops[0] == 0 if fresh is None else fresh
        return torch.where(undecided, self.n, self.stops[0]), torch.where(undecided, shrinking, self.stops[1])

    def release(self, gx: State, proposal: State) -> State:
        """Samples that converged at this check take g(x_n), then count as frozen."""
        return proposal if self.fresh is None or proposal is gx else select(self.fresh, gx, proposal)

    def keep_frozen(self, x: State, new: State) -> State:
        """Frozen samples keep their state; the ones released at this check freeze from now on."""
        return new if self.frozen is None else select(self.frozen, x, new)

    def keep_done(self, x: State, new: State) -> State:
        """Samples that converged, at this check or before, keep their state."""
        return new if self.done is None else select(self.done, x, new)

    def settle(self, new: State, same: Callable[[Step, Tensor], bool]) -> Tensor | None:
        """Freeze what converged at this check; once half of the working batch is frozen, the others go on without it.

        They do where that promises to save an evaluation of the working batch, which is about what the cut costs.
        `same(step, rows)` must say whether the step for these rows gives what the whole step gave for them: it is
        asked once a solve, because a map that mixes samples must not be cut into pieces.

        Returns:
            The rows of `new` that go on as the working batch, or `None` if it stays as it is.
        """
        self.frozen, self.fresh = self.done, None
        if 2 * self.stopped < self.working or self.step.rows is None or not self.solver.compact:
            return None
        assert self.frozen is not None
        active = ~self.frozen
        if self._iterations_left(active) * self.stopped < self.working:
            return None
        rows = active.nonzero()[:, 0]
        smaller = self.step.rows(rows) if self.trusted else self._first_cut(same, rows)
        if smaller is None:
            return None
        self.trusted = True
        self._store(new)
        self.numbers = rows if self.numbers is None else self.numbers[rows]
        assert self.stops is not None
        self.residual, self.stops = self.residual[rows], (self.stops[0][rows], self.stops[1][rows])
        self.step, self.working, self.stopped, self.frozen, self.done = smaller, len(rows), 0, None, None
        return rows

    def _iterations_left(self, active: Tensor) -> float:
        """How many the slowest of these samples still needs, at its pace since the last check."""
        pace = (self.before / self.residual).log() / self.gap
        left = torch.where(pace > 0, (self.residual / self.tol).log() / pace, math.inf)
        return left.masked_fill(~active, 0).max().item()

    def _first_cut(self, same: Callable[[Step, Tensor], bool], rows: Tensor) -> Step | None:
        """The step for these rows; `None`, and no further attempt, if the map cannot be cut."""
        assert self.step.rows is not None
        self.sample_evaluations += len(rows)
        try:
            smaller = self.step.rows(rows)
            if same(smaller, rows):
                return smaller
        except (RuntimeError, ValueError, IndexError):  # g holds tensors of the batch's size
            pass
        self.step = replace(self.step, rows=None)
        warnings.warn(
            "g gives other values for a part of the batch than for the whole: samples influence each other "
            "(batch normalisation in training mode?) or g holds tensors of the batch. Converged samples stay "
            "in the batch, and a frozen sample need not be a fixed point of the final batch; "
            'use criterion=Relative(..., scope="batch") for such a map.',
            ConvergenceWarning,
            stacklevel=2,
        )
        return None

    def _store(self, x: State) -> None:
        """Write state and records of the working batch to their places in the whole batch."""
        stops, shrinking = self._stops(None) if self.stops is None else self.stops
        if self.left is None:
            self.left = ([leaf.clone() for leaf in x], self.residual.clone(), stops.clone(), shrinking.clone())
            return
        assert self.numbers is not None
        state, *records = self.left
        for whole, part in zip([*state, *records], [*x, self.residual, stops, shrinking], strict=True):
            whole.index_copy_(0, self.numbers, part)

    def _whole_residual(self) -> Tensor:
        if self.left is None:
            return self.residual.expand(self.batch)
        assert self.numbers is not None
        return self.left[1].index_copy(0, self.numbers, self.residual)

    def finish(self, x: State) -> tuple[State, SolveInfo]:
        """The state of the whole batch and the diagnostics, announced according to the policy."""
        self.stops = self._stops(None)
        if self.left is not None:
            self._store(x)
            x, residual, stops, shrinking = self.left
        else:
            residual, stops, shrinking = (t.expand(self.batch) for t in (self.residual, *self.stops))
        info = SolveInfo(
            iterations=stops,
            residual=residual.detach(),
            converged=residual <= self.tol,
            rate=shrinking.detach(),
            evaluations=self.evaluations,
            sample_evaluations=self.sample_evaluations,
            trace=self.trace,
        )
        announce(info, self.solver.on_failure, self.name)
        return x, info


def _value(x: Tensor) -> Tensor:
    """The tensor apart from a recording of the solve (`Unrolled`)."""
    return x.detach() if x.requires_grad else x
