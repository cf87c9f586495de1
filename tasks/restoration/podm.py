"""PODM (Liu et al., "A bridging framework for model optimization and deep propagation"): propagation and optimality.

Minimises Φ(x) = f(x) + g(x) with a denoiser 𝒜 as an accelerator.  One stage, from the iterate x_old:

1. propagation (eq. 3): x_A = 𝒜(x_old), x_f = ℱ(x_A) = argmin f(x) + μ/2 ‖x − x_A‖², in closed form;
2. optimality 𝒢 (eq. 4): proximal-gradient steps on Φ(x) + α/2 ‖x − x_old‖² from x_f,
       x_g = prox_{g/τ}(x − (∇f(x) + α(x − x_old))/τ),  until the error condition (5) holds,
       ‖ψ‖ ≤ C ‖x_g − x_old‖  with  ψ = ∇f(x_g) + u + α(x_g − x_old),  u ∈ ∂g(x_g) that of the prox;
3. x_g is accepted if (5) held within the allowed steps and Φ decreased enough; otherwise the stage is a plain
   proximal-gradient step from x_old.

The poster's (5) has α = μ/2 + H, its d being ‖x − x_A‖²_H: x_A cancels.  Where C < α and g is convex, (5) alone implies
Φ(x_g) ≤ Φ(x_old) − (α − C)‖x_g − x_old‖²; for any g, where C < α − τ/2 (`certain_decrease`).  The authors' constants
(C = 0.08, α = 10⁻³) imply neither, hence the second half of 3.  Either way every stage decreases Φ and bounds its
subgradient by the step, which is what the convergence theorem of such descent methods needs (Attouch et al. 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.restoration.operators import Problem
from tasks.restoration.prior import LpDct

Denoise = Callable[[Tensor, float], Tensor]  # (x, noise level in grey levels of 255) ↦ 𝒜(x)
Follow = Callable[[Tensor, dict[str, Tensor]], None]  # (x, numbers an image by name), called at every iteration
SLACK = 1.01  # of the proximal-gradient step's curvature over ‖A‖²: what makes it decrease Φ strictly


@dataclass
class Stage:
    """What one stage did, per image (batch,).

    Attributes:
        objective: Φ of the new iterate.
        change: ‖x − x_old‖ / ‖x_old‖.
        error: ‖ψ‖ / ‖x_g − x_old‖ of the candidate, which (5) bounds by C.
        accepted: whether x_g became the iterate.
    """

    objective: Tensor
    change: Tensor
    error: Tensor
    accepted: Tensor


@dataclass(frozen=True)
class PODM:
    """The iteration and its constants (those of the authors' program, where it states them).

    Args:
        prior: g.
        alpha: weight of the proximity to x_old in 𝒢.
        error: C of (5), relative to ‖A‖² (which is 1 for a blur of positive values).
        inner_steps: steps of 𝒢 at most; 1 in the authors' program.
        decrease: Φ must fall by this much times ‖x_g − x_old‖² for x_g to be accepted.
        tolerance: an image is done when its relative change is below it; 10⁻⁴ in the authors' program.
    """

    prior: LpDct
    alpha: float = 1e-3
    error: float = 0.08
    inner_steps: int = 5
    decrease: float = 1e-6
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("alpha", "error", "decrease"):
            if not getattr(self, name) > 0:
                raise ValueError(f"podm.{name} must be above 0, got {getattr(self, name)!r}")
        if not self.tolerance >= 0 or self.inner_steps < 1:
            raise ValueError(f"podm.tolerance must be at least 0 and podm.inner_steps at least 1, got {self}")

    @property
    def certain_decrease(self) -> bool:
        """Whether (5) alone implies the decrease of Φ (with ‖A‖ = 1)."""
        return self.error < self.alpha - (0 if self.prior.convex else (SLACK + self.alpha) / 2)

    def objective(self, problem: Problem, x: Tensor) -> Tensor:
        """Φ(x) per image."""
        return problem.fidelity(x) + self.prior.value(x)

    def stage(self, problem: Problem, x_old: Tensor, x_f: Tensor) -> tuple[Tensor, Stage]:
        """Steps 2 and 3 from the propagated image x_f."""
        curvature = SLACK * problem.lipschitz()
        before = self.objective(problem, x_old)
        x_g, error = self.optimality(problem, x_old, x_f, curvature + self.alpha)
        moved = _norm(x_g - x_old)
        after = self.objective(problem, x_g)
        bound = self.error * problem.lipschitz().flatten()
        accepted = (error <= bound * moved) & (after <= before - self.decrease * moved.square()) & (moved > 0)
        x = torch.where(accepted[:, None, None, None], x_g, self.fallback(problem, x_old, curvature))
        objective = torch.where(accepted, after, self.objective(problem, x))
        change = _norm(x - x_old) / _norm(x_old).clamp_min(1e-12)
        return x, Stage(objective, change, error / moved.clamp_min(1e-30), accepted)

    def optimality(self, problem: Problem, x_old: Tensor, x_f: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        """𝒢: (x_g, ‖ψ‖) after the first step at which (5) holds, per image, or the last one allowed."""
        bound = self.error * problem.lipschitz().flatten()
        x, gradient = x_f, problem.gradient(x_f)
        found, errors = x_f, torch.full_like(bound, torch.inf)
        for _ in range(self.inner_steps):
            new = self.prior.prox(x - (gradient + self.alpha * (x - x_old)) / tau, 1 / tau)
            new_gradient = problem.gradient(new)
            psi = _norm((self.alpha - tau) * (new - x) + new_gradient - gradient)
            waiting = errors > bound * _norm(found - x_old)  # those for which (5) has not held yet
            found = torch.where(waiting[:, None, None, None], new, found)
            errors = torch.where(waiting, psi, errors)
            if not bool((errors > bound * _norm(found - x_old)).any()):
                break
            x, gradient = new, new_gradient
        return found, errors

    def fallback(self, problem: Problem, x_old: Tensor, curvature: Tensor) -> Tensor:
        """The proximal-gradient step prox_{g/L}(x_old − ∇f(x_old)/L)."""
        return self.prior.prox(x_old - problem.gradient(x_old) / curvature, 1 / curvature)


@torch.no_grad()
def run_podm(
    podm: PODM,
    problem: Problem,
    denoise: Denoise,
    levels: list[float],
    weights: list[float],
    stages: int,
    follow: Follow | None = None,
) -> Tensor:
    """Iterate from `start` until every image is done (its change is below the tolerance) or for so many stages.

    Args:
        denoise: 𝒜.
        levels, weights: the denoiser's noise level and μ of each stage; further stages repeat the last.
        follow: called with the iterate and its stage's objective, error and accepted.
    """
    x = start(problem)
    done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for l in range(stages):
        level, weight = levels[min(l, len(levels) - 1)], weights[min(l, len(weights) - 1)]
        x_f = propagate(problem, denoise(x, level), weight)
        new, made = podm.stage(problem, x, x_f)
        x = torch.where(done[:, None, None, None], x, new)
        if follow is not None:
            follow(x, {"error": made.error, "accepted": made.accepted.float()})
        done = done | (made.change < podm.tolerance) & (l + 1 >= len(levels))
        if bool(done.all()):
            break
    return x


def propagate(problem: Problem, x_a: Tensor, weight: float | Tensor) -> Tensor:
    """ℱ: argmin_x f(x) + ½‖x − x_A‖²_H, H circulant with the spectrum ``weight`` (a number: μ times the identity)."""
    weight = torch.as_tensor(weight, dtype=x_a.dtype, device=x_a.device)
    pulled = weight * x_a if weight.dim() == 0 else problem.image(weight * problem.spectrum(x_a))
    return problem.solve(problem.adjoint(problem.y) + pulled, weight)


def start(problem: Problem) -> Tensor:
    """The first image: y itself; for s > 1 the interpolation that fits y best with the least energy."""
    if problem.factor == 1:
        return problem.y
    tiny = torch.tensor(1e-2, dtype=problem.y.dtype, device=problem.y.device)
    return problem.solve(problem.adjoint(problem.y), tiny)


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)
