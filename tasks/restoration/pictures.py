"""A row at work on a few test images: what the figures show, kept as arrays and curves, and drawn for the log."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from tasks.engine.image_quality import psnr
from tasks.engine.images import beside_truth
from tasks.engine.store import write_csv
from tasks.restoration.baselines import fista
from tasks.restoration.models import Restorer
from tasks.restoration.operators import Problem
from tasks.restoration.plugged import PODMRestorer
from tasks.restoration.podm import start
from tasks.restoration.prior import LpDct

EXAMPLES = 3  # images kept
FOLLOWED = 4  # images whose iterations are followed
FISTA_ITERATIONS = 60


@torch.no_grad()
def write_pictures(network: Restorer, problem: Problem, truth: Tensor, directory: Path) -> dict[str, Path]:
    """Write pictures.npz, curves.csv (iterative rows; PODM's with FISTA's beside it) and a drawing, by title."""
    few = Problem(*(part[:EXAMPLES] for part in problem))
    before, after = start(few), network(few)
    arrays = {
        **{name: _bytes(images) for name, images in (("input", before), ("restored", after))},
        "truth": _bytes(truth[:EXAMPLES]),
        "psnr_input": psnr(before, truth[:EXAMPLES]).cpu().numpy(),
        "psnr_restored": psnr(after, truth[:EXAMPLES]).cpu().numpy(),
    }
    np.savez_compressed(directory / "pictures.npz", **arrays)  # type: ignore[arg-type]
    followed = Problem(*(part[:FOLLOWED] for part in problem))
    if curves := _curves(network, followed, truth[:FOLLOWED]):
        write_csv(directory / "curves.csv", curves)
    fig = beside_truth(arrays, "input", "restored", 8)
    path = directory / "examples.png"
    fig.savefig(path, dpi=100)
    plt.close(fig)
    return {"input, restored, truth": path}


class Curve:
    """Called at every iteration; keeps the means over the images of its numbers."""

    def __init__(self, method: str, problem: Problem, truth: Tensor, prior: LpDct | None) -> None:
        self.method, self.problem, self.truth, self.prior = method, problem, truth, prior
        self.previous, self.rows = start(problem), []  # type: ignore[var-annotated]

    def __call__(self, x: Tensor, numbers: dict[str, Tensor]) -> None:
        change = torch.linalg.vector_norm((x - self.previous).flatten(1), dim=1)
        change = change / torch.linalg.vector_norm(self.previous.flatten(1), dim=1)
        values = {"psnr": psnr(x, self.truth), "change": change, **numbers}
        if self.prior is not None:
            values["objective"] = self.problem.fidelity(x) + self.prior.value(x)
        means = {name: float(value.mean()) for name, value in values.items()}
        self.rows.append({"fista": float(self.method == "fista"), "iteration": len(self.rows) + 1} | means)
        self.previous = x


def _curves(network: Restorer, problem: Problem, truth: Tensor) -> list[dict[str, float]]:
    prior = network.podm.prior if isinstance(network, PODMRestorer) else None
    curve = Curve("row", problem, truth, prior)
    network.follow(problem, curve)
    rows = curve.rows
    if prior is not None:
        beside = Curve("fista", problem, truth, prior)
        fista(problem, prior.prox, FISTA_ITERATIONS, beside)
        rows += beside.rows
    return rows


def _bytes(images: Tensor) -> np.ndarray:
    return (images[:, 0].clamp(0, 1) * 255).round().byte().cpu().numpy()
