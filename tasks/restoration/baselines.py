"""What PODM is compared with: FISTA on the same Φ, total variation, and a denoiser plugged into a splitting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tasks.restoration.operators import Problem
from tasks.restoration.podm import Denoise, Follow, propagate, start


@torch.no_grad()
def fista(
    problem: Problem,
    prox: Callable[[Tensor, Tensor], Tensor],
    iterations: int,
    follow: Follow | None = None,
) -> Tensor:
    """Beck & Teboulle 2009: accelerated proximal gradient with the step 1/‖A‖² from the same start as PODM.

    Guaranteed for convex g only; for p < 1 it is a heuristic.

    Args:
        prox: (v, step) ↦ prox_{step g}(v), step of shape (batch, 1, 1, 1).
    """
    step = 1 / problem.lipschitz()
    x = z = start(problem)
    t = 1.0
    for _ in range(iterations):
        new = prox(z - step * problem.gradient(z), step)
        t_new = (1 + (1 + 4 * t * t) ** 0.5) / 2
        z = new + (t - 1) / t_new * (new - x)
        if follow is not None:
            follow(new, {})
        x, t = new, t_new
    return x


def fista_tv(weight: float, iterations: int = 20) -> Callable[[Tensor, Tensor], Tensor]:
    """The proximal map of ``weight`` times the isotropic total variation (Chambolle 2004, scikit-image)."""
    from skimage.restoration import denoise_tv_chambolle

    def prox(v: Tensor, step: Tensor) -> Tensor:
        images = [
            denoise_tv_chambolle(image, weight=max(weight * float(s), 1e-12), eps=0, max_num_iter=iterations)
            for image, s in zip(v[:, 0].cpu().numpy(), step.flatten(), strict=True)
        ]
        return torch.from_numpy(np.stack(images)[:, None]).to(v)

    return prox


@torch.no_grad()
def plug_and_play(
    problem: Problem,
    denoise: Denoise,
    levels: list[float],
    weights: list[float],
    follow: Follow | None = None,
) -> Tensor:
    """Half-quadratic splitting with a denoiser as the prior, IRCNN's part (Zhang et al. 2017): x ← 𝒜(ℱ(x))."""
    x = start(problem)
    for level, weight in zip(levels, weights, strict=True):
        new = denoise(propagate(problem, x, weight), level)
        if follow is not None:
            follow(new, {})
        x = new
    return x


def annealed(first: float, last: float, steps: int, sigma: float, strength: float) -> tuple[list[float], list[float]]:
    """(levels, weights): noise levels from ``first`` to ``last``, even on a log scale, and μ = strength · (σ / level)².

    Half-quadratic splitting with Gaussian noise σ has strength 1; IRCNN's program takes 1/3. All in grey levels of 255.
    """
    levels = np.geomspace(first, last, steps).tolist()
    return levels, [strength * (max(sigma, 1.0) / level) ** 2 for level in levels]
