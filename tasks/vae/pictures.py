"""What a trained row shows, kept as arrays: reconstructions, generations, an interpolation, and inversions at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

import fpi
from tasks.engine.images import grid
from tasks.engine.store import write_csv
from tasks.vae.data import as_bytes
from tasks.vae.drawing import BETWEEN, KEPT, row_of
from tasks.vae.inversion import Inversion

if TYPE_CHECKING:
    from tasks.vae.module import ImageGeneration

SHOWN = 16  # images reconstructed, and generated
FOLLOWED = 64  # images whose inversion is followed
STEPS = 30  # iterations followed (thesis: at most 30)

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Reading:
    """One way to read (6.5): the energy's reduction and batch normalisation, γ, and the solver."""

    name: str
    reduction: Any
    step_size: float
    batch_norm: Any = "running"
    solver: type[fpi.Solver] = fpi.Picard


def readings(step_size: float) -> list[Reading]:
    """What is followed on a trained decoder; `step_size` is the γ that the workable reading has for the mean."""
    return [
        Reading("mean, γ = 0.1 (literal)", "mean", 0.1),
        Reading("sum, γ = 0.1", "sum", 0.1),
        Reading("sum, γ = 0.1, statistics of the batch", "sum", 0.1, "batch"),
        Reading(f"mean, γ = {step_size:g} (workable)", "mean", step_size),
        Reading(f"mean, γ = {step_size:g}, Anderson", "mean", step_size, solver=fpi.Anderson),
        Reading("mean, L-BFGS", "mean", step_size, solver=fpi.LBFGS),
    ]


def write_pictures(module: ImageGeneration, images: Tensor, directory: Path) -> dict[str, Path]:
    """Write pictures.npz, inversions.csv and a drawing; returns the drawings by title.

    Args:
        module: trained, in evaluation mode.
        images: held-out images on [−1, 1].
    """
    arrays = examples(module, images[:SHOWN])
    curves, iterates = follow(module, images[:FOLLOWED])
    write_csv(directory / "inversions.csv", curves)
    np.savez_compressed(directory / "pictures.npz", **arrays, **iterates)  # type: ignore[arg-type]
    path = directory / "pictures.png"
    kinds = ("truth", "reconstruction", "generation", "interpolation")
    fig = grid([[row_of(arrays[kind][:BETWEEN], kind)] for kind in kinds], 9)
    fig.savefig(path, dpi=100)
    plt.close(fig)
    return {"reconstructions and generations": path}


@torch.no_grad()
def examples(module: ImageGeneration, images: Tensor) -> Arrays:
    """uint8 images (count, size, size, 3): the truth, its reconstruction, generations from the latents that all rows
    share, and an interpolation between the latents of the first two images."""
    x0, _ = module.network.encoder(images)
    mean = module.mean(images, x0, True)
    share = torch.linspace(0, 1, BETWEEN, device=mean.device)[:, None]
    shown = {
        "truth": images,
        "reconstruction": module.network.decoder(mean),
        "generation": module.generation.decode(module.generation.latents(SHOWN)),
        "interpolation": module.network.decoder(mean[0] + share * (mean[1] - mean[0])),
    }
    return {name: pixels(value) for name, value in shown.items()}


def follow(module: ImageGeneration, images: Tensor) -> tuple[list[dict[str, Any]], Arrays]:
    """Every reading's iterates from the encoder's mean, on this row's decoder.

    Returns:
        One row a reading and evaluation: means over the images of the reconstruction error, of ‖Δ‖² (eq. 5.6) and of
        the distance from the start; and the first image's reconstructions after KEPT steps of the last reading.
    """
    decoder = module.network.decoder
    step_size = workable_step_size(module)
    with torch.no_grad():
        x0, _ = module.network.encoder(images)
    curves: list[dict[str, Any]] = []
    arrays: Arrays = {}
    for reading in readings(step_size):
        criterion = fpi.Absolute(0.0, scope="batch")  # never met: all the way
        solver = reading.solver(criterion=criterion, max_iter=STEPS + 1, on_failure="ignore", compact=False)
        inversion = Inversion(solver, fpi.JacobianFree(), reading.step_size, reading.reduction, reading.batch_norm)
        states = _states(inversion, inversion.source(decoder, images), x0)
        for step, (x, change) in enumerate(states[: STEPS + 1]):
            with torch.no_grad():
                error = (decoder(x) - images).square().mean((1, 2, 3)).mean()
            curves.append(
                {
                    "reading": reading.name,
                    "step": step,
                    "mse": float(error),
                    "change": float(change.square().sum(1).mean()),
                    "distance": float((x - x0).norm(dim=1).mean()),
                }
            )
        if reading.solver is fpi.LBFGS:
            with torch.no_grad():
                chosen = torch.stack([states[min(step, len(states) - 1)][0][0] for step in KEPT])
                arrays = {"iterates": pixels(decoder(chosen)), "iterates_truth": pixels(images[:1])}
    return curves, arrays


def workable_step_size(module: ImageGeneration) -> float:
    """γ of the row's inversion if it is not the literal one, else 10, for an energy that is a mean."""
    if module.inversion is None:
        return 10.0
    step_size: float = module.inversion.layer.g.step_size  # type: ignore[assignment]
    return step_size if step_size > 0.1 else 10.0


def _states(inversion: Inversion, source: Any, x0: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(x, γ∇f(x)) at every evaluation of the solver, x0 first; of a solver that rejects steps, each sample's best."""
    states: list[tuple[Tensor, Tensor]] = []
    best: list[Tensor] = []
    step = inversion.layer.g

    class Recorder(torch.nn.Module):
        def forward(self, x: Tensor, z: Any) -> Tensor:
            new: Tensor = step(x, z)
            states.append((x.detach().clone(), (x - new).detach()))
            return new

        def objective(self, x: Tensor, z: Any) -> tuple[Tensor, Tensor]:
            value, gradient = step.objective(x, z)  # type: ignore[operator]
            state = (x.detach().clone(), gradient.detach())
            if best:
                better = (value < best[-1])[:, None]
                state = (torch.where(better, state[0], states[-1][0]), torch.where(better, state[1], states[-1][1]))
            best.append(torch.minimum(value, best[-1]) if best else value)
            states.append(state)
            return value, gradient

    with torch.no_grad():
        fpi.fixed_point(Recorder(), x0, source, solver=inversion.layer.solver)
    return states


def pixels(images: Tensor) -> np.ndarray:
    """Images on [−1, 1] as uint8 (count, size, size, 3)."""
    return as_bytes(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()
