"""What a solve reports: `SolveInfo`, and how it fails: `FixedPointError`, `ConvergenceWarning`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

OnFailure = Literal["warn", "raise", "ignore"]


class FixedPointError(RuntimeError):
    """A solve produced non-finite values, or did not converge under `on_failure="raise"`."""


class ConvergenceWarning(UserWarning):
    """A solve ended at its cap of iterations without meeting its criterion."""


@dataclass
class SolveInfo:
    """Diagnostics of one solve.

    Attributes:
        iterations: (batch,) integer tensor, the iteration at which each sample stopped.
        residual: (batch,) the criterion's value when it stopped (squared norms, eqs. 5.4 and 5.6).
        converged: (batch,) boolean tensor.
        rate: (batch,) factor by which ‖g(x) − x‖ shrank an iteration just before the sample stopped: with plain
            iteration an estimate of the contraction constant of theorem 2; nan where there was only one check.
        evaluations: how often the map was evaluated (a backward solve: products with its transposed Jacobian).
        sample_evaluations: the same counted in samples: converged samples that have left the batch cost nothing.
        trace: the residuals (batch,) at every check, if the solver was asked for them.
        backward: the same for the adjoint solve, filled in when `backward()` has run.
        cotangent: the structure of the state: c of (4.10), filled in when `backward()` has run; hand it to the next
            solve as `c0` for a warm start.
    """

    iterations: Tensor
    residual: Tensor
    converged: Tensor
    rate: Tensor
    evaluations: int
    sample_evaluations: int
    trace: list[Tensor] = field(default_factory=list)
    backward: SolveInfo | None = None
    cotangent: Any = None

    def __str__(self) -> str:
        done, total = int(self.converged.sum()), self.converged.numel()
        worst = f"{float(self.residual.max()):.2e}" if total else "n/a"
        text = f"{done}/{total} samples converged in {self.evaluations} evaluations, worst residual {worst}"
        known = self.rate[~self.rate.isnan()]
        return f"{text}, shrinking by {float(known.max()):.3g} an iteration" if known.numel() else text


def announce(info: SolveInfo, on_failure: OnFailure, solver: str) -> None:
    """Apply the failure policy to a finished solve.

    Raises:
        FixedPointError: samples are not converged and the policy is `"raise"`.
    """
    if on_failure == "ignore" or bool(info.converged.all()):
        return
    message = (
        f"{solver}: {info}. The map may not contract: raise max_iter, lower the step size, damp or accelerate "
        "the iteration, or limit the map's Lipschitz constant (fpi/CONTRACTION.md)."
    )
    if on_failure == "raise":
        raise FixedPointError(message)
    warnings.warn(message, ConvergenceWarning, stacklevel=2)


def non_finite(solver: str, iteration: int, residual: float) -> FixedPointError:
    """The error for a solve whose residual is no longer a finite number."""
    return FixedPointError(
        f"{solver}: the residual became {residual} at iteration {iteration}: the iteration diverges or g returned "
        "nan/inf. Limit the map's Lipschitz constant (fpi/CONTRACTION.md says how), damp the iteration, or lower the "
        "step size of FPI_GD; smaller initial weights or learning rates only delay it."
    )
