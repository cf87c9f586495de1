"""Limited-memory BFGS with backtracking, per sample: the solver that exploits FPI_GD's energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fpi.info import SolveInfo
from fpi.solvers.base import Solver
from fpi.solvers.samples import agree
from fpi.solvers.step import State, Step
from fpi.solvers.watch import Watch

Evaluate = Callable[[Tensor, Step], tuple[Tensor, Tensor]]
Pair = tuple[Tensor, Tensor, Tensor]  # Δx, Δ∇f, 1 / ⟨Δx, Δ∇f⟩ (0: not usable)


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
        backtracks: step reductions (×0.4) tried before a sample stays where it is.
        armijo: fraction of the predicted decrease that a step must achieve.

    Raises:
        ValueError: the map offers no energy (use it with `fpi.FPI_GD`, one tensor as state).
    """

    memory: int = 10
    first_step: float = 1.0
    backtracks: int = 8
    armijo: float = 1e-4

    def _solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        if step.objective is None or len(x0) != 1:
            raise ValueError("LBFGS needs an energy and a state of one tensor: use it as FPI_GD(..., solver=LBFGS())")
        shape, watch = x0[0].shape[1:], Watch(self, step, x0)

        def evaluate(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
            assert step.objective is not None
            value, (gradient,) = step.objective([x.reshape(len(x), *shape)])
            return value, gradient.reshape(x.shape)

        x = x0[0].reshape(x0[0].shape[0], shape.numel())
        watch.count()
        value, gradient = evaluate(x, step)
        pairs: list[Pair] = []
        reach = torch.full_like(x[:, :1], self.first_step)
        while not watch.check(watch.evaluations, [gradient], [x]):  # the gradient is x − g(x)
            if watch.evaluations >= self.max_iter:
                break
            rows = watch.settle([x.reshape(len(x), *shape)], partial(_same, x, gradient, evaluate))
            if rows is not None:
                x, value, gradient, reach = x[rows], value[rows], gradient[rows], reach[rows]
                pairs = [(moved[rows], bent[rows], inverse[rows]) for moved, bent, inverse in pairs]
            direction = -_precondition(gradient, pairs, reach)
            uphill = (gradient * direction).sum(1, keepdim=True) >= 0
            direction = torch.where(uphill, -reach * gradient, direction)
            slope = (gradient * direction).sum(1)
            if watch.frozen is not None:
                direction = torch.where(watch.frozen[:, None], 0, direction)
            length = torch.ones_like(value)
            for _ in range(self.backtracks + 1):
                watch.count()
                new_value, new_gradient = evaluate(x + length[:, None] * direction, watch.step)
                # near the minimum the decrease drowns in rounding: allow for the value's own resolution
                slack = 4 * torch.finfo(value.dtype).eps * value.abs()
                accepted = new_value <= value + self.armijo * length * slope + slack
                if watch.evaluations >= self.max_iter or bool(accepted.all()):
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
        return watch.finish([x.reshape(len(x), *shape)])


def _same(x: Tensor, gradient: Tensor, evaluate: Evaluate, step: Step, rows: Tensor) -> bool:
    """Compares g(x) = x − gradient: near the solution the gradient itself is rounding."""
    return agree([x[rows] - evaluate(x[rows], step)[1]], [x[rows] - gradient[rows]])


def _precondition(gradient: Tensor, pairs: list[Pair], reach: Tensor) -> Tensor:
    """The two-loop recursion: an approximation of (∇²f)⁻¹ ∇f per sample; `reach` · ∇f where nothing is known."""
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
