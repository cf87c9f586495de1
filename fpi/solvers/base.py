"""The loop every solver shares: evaluate, check, freeze what has converged, propose the next state."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import UnionType
from typing import Literal

from torch import Tensor

from fpi.criteria import Absolute, Criterion, Relative
from fpi.info import OnFailure, SolveInfo
from fpi.onednn import repeated
from fpi.solvers.samples import agree
from fpi.solvers.step import State, Step, take
from fpi.solvers.watch import Watch


def expect(option: str, value: object, kind: type | UnionType, expected: str) -> None:
    """Raises TypeError for a value of another kind: the class instead of an object of it, for example."""
    if not isinstance(value, kind):
        given = value.__name__ if isinstance(value, type) else repr(value)
        raise TypeError(f"{option.format(given)}: expected {expected}")


class Rule:
    """(x_n, g(x_n)) → the next state, with whatever history it keeps of the solve."""

    def __call__(self, x: State, gx: State) -> State:
        raise NotImplementedError  # pragma: no cover - every public solver defines it

    def change(self, x: State, gx: State) -> State | None:
        """g(x) − x for the criterion, where the rule computes it anyway."""
        return None

    def keep(self, rows: Tensor) -> None:
        """Only these samples of the working batch go on."""


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Options common to all solvers.

    Args:
        criterion: `fpi.Relative` (eq. 5.4) or `fpi.Absolute` (eq. 5.6), per sample or per batch.
        max_iter: cap on the iterations.
        check_every: evaluate the criterion every so many iterations (each check reads a number from the device);
            `"auto"` checks the first three, then looks ahead: at the rate at which the fastest sample has converged so
            far it halves the distance to its end each time.  So a check costs next to nothing in a long solve, and a
            sample that converges at a steady rate still stops at the first iteration that meets the criterion.
            With `1` that holds for every sample, whatever the others in the batch do.
        on_failure: what to do when a sample has not converged at the cap: `"warn"`, `"raise"` or `"ignore"`.
            Non-finite values raise `fpi.FixedPointError` unless the policy is `"ignore"`.
        compact: converged samples leave the working batch, so that one hard sample does not make all of them pay.
            It applies where the map says which of its tensors carry the batch (`fpi.FPILayer` does) and
            wherever the criterion is per sample.
        trace: keep the residuals of every check in `fpi.SolveInfo.trace`.
    """

    criterion: Criterion = field(default_factory=Relative)
    max_iter: int = 500
    check_every: int | Literal["auto"] = "auto"
    on_failure: OnFailure = "warn"
    compact: bool = True
    trace: bool = False

    def __post_init__(self) -> None:
        for name in ("max_iter", "check_every"):
            value, other = getattr(self, name), ' or "auto"' * (name == "check_every")
            if not (isinstance(value, int) and value >= 1 or other and value == "auto"):
                raise ValueError(f"{type(self).__name__}({name}=...) must be an integer ≥ 1{other}, got {value!r}")
        option = f"{type(self).__name__}(criterion={{}})"
        expect(option, self.criterion, Relative | Absolute, "fpi.Relative(tol) or fpi.Absolute(tol)")
        if self.on_failure not in ("warn", "raise", "ignore"):
            raise ValueError(f"on_failure must be 'warn', 'raise' or 'ignore', got {self.on_failure!r}")

    def _begin(self, x: State) -> Rule:
        """A fresh rule for a solve that starts at x."""
        raise NotImplementedError  # pragma: no cover - every public solver defines it

    def solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        """Iterate `step` from `x0`; returns the last g(x_n) of every sample and the diagnostics.

        A sample that has converged is frozen: its value is the one it would have if it were solved alone.

        Raises:
            FixedPointError: non-finite values, or no convergence under `on_failure="raise"`.
        """
        with repeated({}):
            return self._solve(step, x0)

    def _solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        x, rule, watch = x0, self._begin(x0), Watch(self, step, x0)
        due = 1 if self.check_every == "auto" else self.check_every
        for n in range(1, self.max_iter + 1):
            gx = watch.evaluate(x)
            if n < min(due, self.max_iter):
                x = watch.keep_frozen(x, rule(x, gx))
                continue
            if watch.check(n, rule.change(x, gx) or watch.change(gx, x), x) or n == self.max_iter:
                x = watch.keep_frozen(x, gx)
                break
            due = n + (watch.patience() if self.check_every == "auto" else self.check_every)
            new = watch.keep_frozen(x, watch.release(gx, rule(x, gx)))
            rows = watch.settle(new, partial(_same, x, gx))
            if rows is not None:
                new = take(new, rows)
                rule.keep(rows)
            x = new
        return watch.finish(x)


def _same(x: State, gx: State, step: Step, rows: Tensor) -> bool:
    return agree(step(take(x, rows)), take(gx, rows))
