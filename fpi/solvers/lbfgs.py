"""Limited-memory BFGS with backtracking, per sample: the solver that exploits FPI_GD's energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.info import SolveInfo, announce
from fpi.solvers.base import Objective, Solver, State, Step, _Watch


@dataclass(frozen=True, kw_only=True)
class LBFGS(Solver):
    """Finds ∇f(x̂, z) = 0 of eq. (4.26): the fixed points of x − γ∇f, with the energy as a safeguard.

    Every sample runs its own quasi-Newton iteration (Nocedal & Wright, algorithms 7.4 and 3.1); a step is taken only
    when it lowers that sample's energy, so a flat part of the energy that merely satisfies the criterion is left
    again as long as descent is possible.  The criterion is measured on g(x) − x = −γ∇f, as for the other solvers.

    Args:
        memory: pairs of differences kept.
        first_step: length, in units of γ∇f, of the first step; where the energy shows no positive curvature the
            length is multiplied by 4 after every success, so that flat parts are crossed quickly.
        backtracks: step halvings (×0.4) tried before a sample stays where it is.
        armijo: fraction of the predicted decrease that a step must achieve.

    Raises:
        ValueError: the map offers no energy (use it with :class:`fpi.FPI_GD`, one tensor as state).
    """

    memory: int = 10
    first_step: float = 1.0
    backtracks: int = 8
    armijo: float = 1e-4

    def solve(self, step: Step, x0: State, objective: Objective | None = None) -> tuple[State, SolveInfo]:
        if objective is None or len(x0) != 1:
            raise ValueError("LBFGS needs an energy and a state of one tensor: use it as FPI_GD(..., solver=LBFGS())")
        shape, batch = x0[0].shape, x0[0].shape[0]
        evaluations = 0

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal evaluations
            evaluations += 1
            value, (gradient,) = objective([x.reshape(shape)])
            return value, gradient.reshape(batch, -1)

        def change(x: Tensor, gradient: Tensor) -> Tensor:
            """The criterion on g(x) − x, without evaluating g again: objective's gradient is scaled to that."""
            return self.criterion.residual([x - gradient], [x])

        x = x0[0].reshape(batch, -1)
        value, gradient = evaluate(x)
        pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        reach = torch.full((batch, 1), self.first_step, dtype=x.dtype, device=x.device)
        watch = _Watch(batch, x0[0], type(self).__name__, self)
        n = 1
        while not watch.check(n, change(x, gradient)) and evaluations < self.max_iter:
            watch.freeze()
            direction = -_precondition(gradient, pairs, reach)
            uphill = (gradient * direction).sum(1, keepdim=True) >= 0
            direction = torch.where(uphill, -reach * gradient, direction)
            slope = (gradient * direction).sum(1)
            if watch.frozen is not None:
                direction = torch.where(watch.frozen[:, None], 0, direction)
            length = torch.ones_like(value)
            for _ in range(self.backtracks + 1):
                new_value, new_gradient = evaluate(x + length[:, None] * direction)
                # near the minimum the decrease drowns in rounding: allow for the value's own resolution
                slack = 4 * torch.finfo(value.dtype).eps * value.abs()
                accepted = new_value <= value + self.armijo * length * slope + slack
                if evaluations >= self.max_iter or bool(accepted.all()):
                    break
                length = torch.where(accepted, length, 0.4 * length)
            moved = torch.where(accepted[:, None], length[:, None] * direction, 0)
            bent = torch.where(accepted[:, None], new_gradient - gradient, 0)
            curvature = (moved * bent).sum(1, keepdim=True)
            usable = curvature > torch.finfo(value.dtype).eps * bent.square().sum(1, keepdim=True)
            inverse = torch.where(usable, curvature.reciprocal(), 0)
            reach = torch.where(usable, reach, torch.where(accepted[:, None], 4 * reach, 0.25 * reach))
            pairs = [*pairs, (moved, bent, inverse)][-self.memory :]
            x, value, gradient = x + moved, torch.where(accepted, new_value, value), gradient + bent
            n = evaluations
        info = watch.info(evaluations)
        announce(info, self.on_failure, type(self).__name__)
        return [x.reshape(shape)], info


def _precondition(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]], reach: Tensor) -> Tensor:
    """The two-loop recursion: an approximation of (∇²f)⁻¹ ∇f per sample; ``reach`` · ∇f where nothing is known."""
    q, alphas = gradient, []
    for moved, bent, inverse in reversed(pairs):
        alpha = inverse * (moved * q).sum(1, keepdim=True)
        alphas.append(alpha)
        q = q - alpha * bent
    scale = reach
    if pairs:
        moved, bent, inverse = pairs[-1]
        newton = (moved * bent).sum(1, keepdim=True) / bent.square().sum(1, keepdim=True)
        scale = torch.where(inverse > 0, newton, reach)
    q = q * scale
    for (moved, bent, inverse), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - inverse * (bent * q).sum(1, keepdim=True)) * moved
    return q
