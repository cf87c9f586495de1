"""A fixed-point layer that diverges in training, and what saves it.

Multi-label classification on generated documents: FPI_NN on [x, z], z the words, x the labels' probabilities, PyTorch's
default initialisation, Adam with learning rate 1e-3.  Labels that occur together reinforce each other through the loop
x → x, and learning makes the loop stronger: within tens of steps the spectral radius of ∂g/∂x passes 1, the backward
layer grows without bound and training ends.  Every remedy runs on the same data, initial weights and batches.

    python scripts/examples/contraction.py                       # table, under a minute on one core
    python scripts/examples/contraction.py --figure contraction.png
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import fpi
from fpi import contraction

WORDS, LABELS, HIDDEN, TOPICS = 200, 50, 128, 20
TRAIN, TEST, BATCH = 2000, 500, 32
FACTOR = 0.9


def documents(seed: int) -> tuple[Tensor, Tensor]:
    """Words z (documents, WORDS) and labels y (documents, LABELS), both 0/1: each document mixes a few topics."""
    rng = torch.Generator().manual_seed(seed)
    words = torch.randn(TOPICS, WORDS, generator=rng) * 1.5 - 3.5
    tags = torch.randn(TOPICS, LABELS, generator=rng) * 2 - 3
    mixture = torch.softmax(4 * torch.randn(TRAIN + TEST, TOPICS, generator=rng), 1)
    z = torch.bernoulli(torch.sigmoid(mixture @ words), generator=rng)
    return z, torch.bernoulli(torch.sigmoid(mixture @ tags), generator=rng)


def make_layer(seed: int) -> fpi.FPI_NN:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(LABELS + WORDS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, LABELS), nn.Sigmoid())
    solver = fpi.Picard(max_iter=200)
    return fpi.FPI_NN(net, solver=solver, adjoint=fpi.BackwardFPI(solver))


def nothing(layer: fpi.FPI_NN) -> None:
    """The hook of a remedy that does not act at this point."""


@dataclass(frozen=True)
class Remedy:
    """What is done to the layer: before training, to the gradients, after each step, and in the loss."""

    name: str
    prepare: Callable[[fpi.FPI_NN], object] = nothing
    gradients: Callable[[fpi.FPI_NN], object] = nothing
    after_step: Callable[[fpi.FPI_NN], object] = nothing
    penalty: float = 0.0
    learning_rate: float = 1e-3


REMEDIES = [
    Remedy("none"),
    Remedy("spectral budget", prepare=lambda layer: contraction.spectral_budget_(layer, FACTOR)),
    Remedy("projection", after_step=lambda layer: contraction.limit_lipschitz_(layer, None, FACTOR)),
    Remedy("Jacobian penalty x 3", penalty=3.0),
    Remedy("Jacobian penalty x 1", penalty=1.0),
    Remedy("initial weights x 0.1", prepare=lambda layer: contraction.scale_parameters_(layer, 0.1)),
    Remedy("gradient clipping", gradients=lambda layer: nn.utils.clip_grad_norm_(layer.parameters(), 0.1)),
    Remedy("learning rate / 10", learning_rate=1e-4),
]


@dataclass
class Record:
    """One training run; the lists have an entry per step."""

    remedy: str
    losses: list[float] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    unconverged: list[bool] = field(default_factory=list)
    seconds: float = 0.0
    diverged: bool = False
    test_loss: float = math.nan

    def fail(self) -> Record:
        self.diverged = True
        return self


def train(remedy: Remedy, seed: int, steps: int) -> Record:
    """Train until the end, or until a solve or a gradient is not finite."""
    z, y = documents(seed)
    layer, record = make_layer(seed), Record(remedy.name)
    remedy.prepare(layer)
    optimiser = torch.optim.Adam(layer.parameters(), lr=remedy.learning_rate)
    for _ in range(steps):
        chosen, start = torch.randint(TRAIN, (BATCH,)), time.perf_counter()
        try:
            x = layer(z[chosen])
            loss = F.binary_cross_entropy(x, y[chosen])
            objective = loss
            if remedy.penalty:
                injected = layer.g.inject(z[chosen])  # type: ignore[operator]
                objective = loss + remedy.penalty * contraction.jacobian_penalty(layer.g, x, injected).mean()
            optimiser.zero_grad()
            objective.backward()
        except fpi.FixedPointError:
            return record.fail()
        record.seconds += time.perf_counter() - start
        observe(record, layer, z[chosen], x.detach(), loss.item())
        if not all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters()):
            return record.fail()
        start = time.perf_counter()
        remedy.gradients(layer)
        optimiser.step()
        remedy.after_step(layer)
        record.seconds += time.perf_counter() - start
    with torch.no_grad():
        record.test_loss = F.binary_cross_entropy(layer(z[TRAIN:]), y[TRAIN:]).item()
    return record


def observe(record: Record, layer: fpi.FPI_NN, z: Tensor, x: Tensor, loss: float) -> None:
    """What SolveInfo says, and the spectral radius at the batch's worst sample."""
    info = layer.info
    assert info is not None and info.backward is not None
    with torch.no_grad():
        radius = contraction.spectral_radius(layer.g, x, layer.g.inject(z), iterations=20)  # type: ignore[operator]
    record.losses.append(loss)
    record.radii.append(radius.max().item())
    record.forward.append(info.iterations.float().mean().item())
    record.backward.append(info.backward.iterations.float().mean().item())
    record.unconverged.append(not bool(info.converged.all() and info.backward.converged.all()))


def table(records: Sequence[Record]) -> Table:
    out = Table(title="FPI_NN in training: what happens, by remedy")
    names = ("remedy", "outcome", "train loss", "test loss", "max radius", "fwd it.", "bwd it.", "capped", "ms/step")
    for column in names:
        out.add_column(column, justify="left" if column in ("remedy", "outcome") else "right")
    for r in records:
        n = len(r.losses)
        out.add_row(
            r.remedy,
            f"[red]diverged at step {n}[/red]" if r.diverged else f"{n} steps",
            f"{mean(r.losses[-20:]):.3f}",
            "-" if r.diverged else f"{r.test_loss:.3f}",
            f"{max(r.radii, default=math.nan):.2f}",
            f"{mean(r.forward):.1f}",
            f"{mean(r.backward):.1f}",
            f"{100 * mean(r.unconverged):.0f} %",
            f"{1e3 * r.seconds / max(n, 1):.1f}",
        )
    return out


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def draw(records: Sequence[Record], path: str) -> None:
    """Spectral radius, training loss and backward iterations against the step; a cross where a run ended."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [("radii", "largest spectral radius"), ("losses", "training loss"), ("backward", "backward iterations")]
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for axis, (name, label) in zip(axes, panels, strict=True):
        for i, r in enumerate(records):
            values = getattr(r, name)
            axis.plot(values, color=f"C{i}", lw=1.2, label=r.remedy)
            if r.diverged and values:
                axis.plot(len(values) - 1, values[-1], "x", color=f"C{i}", ms=9, mew=2.5)
        axis.set(xlabel="step", ylabel=label)
    axes[0].axhline(1, color="gray", ls=":")
    axes[2].set_yscale("log")
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> list[Record]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", help="write this PNG, too")
    given = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fpi.ConvergenceWarning)  # the table counts them
        records = [train(remedy, given.seed, given.steps) for remedy in REMEDIES]
    Console().print(table(records))
    if given.figure:
        draw(records, given.figure)
    return records


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
