"""What a trained FPI_GD layer looks like: its loss along the gradient steps and its objective around a target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import fpi

DIRECTION_SEED = 5104


@torch.no_grad()
def loss_per_step(layer: fpi.FPI_GD, a: Tensor, t: Tensor) -> list[dict[str, float]]:
    """The mean squared error after 0, 1, ..., N gradient steps, N = ``layer.solver.max_iter``, log-spaced (figure 5.3).

    Args:
        layer: the trained layer; its plain steps are taken from x = 0, whatever its solver.
        a, t: (samples, dim) inputs and targets.

    Returns:
        Rows of ``step`` and ``test_loss`` with rising steps, step 0 and step N included.
    """
    last = layer.solver.max_iter
    wanted = {0, last, *(round(10 ** (i / 10)) for i in range(100) if 10 ** (i / 10) <= last)}
    g: Any = layer.g
    injected, x, losses = g.inject(a), layer.initial_state(a), []
    for step in range(last + 1):
        if step in wanted:
            losses.append({"step": step, "test_loss": (x - t).square().mean().item()})
        x = g(x, injected)
    return losses


@torch.no_grad()
def objective_along_directions(
    layer: fpi.FPI_GD, a: Tensor, t: Tensor, radius: float = 2.0, directions: int = 10, half: int = 40
) -> list[dict[str, float]]:
    """The learned objective E(t + r u, a) for distances r of [−radius, radius] and random unit vectors u (figure 5.4).

    Args:
        layer: the trained layer.
        a, t: (dim,) one input and its target.
        radius: largest perturbation. directions: number of fixed random u. half: distances r on either side of r = 0.

    Returns:
        Rows of ``distance`` r, ``mean`` and ``sd`` over the directions (ddof = 1).
    """
    generator = torch.Generator().manual_seed(DIRECTION_SEED)
    u = torch.nn.functional.normalize(torch.randn(directions, len(t), generator=generator), dim=1).to(t)
    distances = radius / half * torch.arange(-half, half + 1, dtype=torch.float64)
    x = (t + distances.to(t)[:, None, None] * u).reshape(-1, len(t))
    energy: Any = layer.g.energy
    values = energy(x, energy.inject(a.expand(len(x), -1))).reshape(len(distances), directions).double().cpu()
    means, sds = values.mean(1).tolist(), values.std(1).tolist()
    return [
        {"distance": round(r, 9), "mean": m, "sd": s} for r, m, s in zip(distances.tolist(), means, sds, strict=True)
    ]
