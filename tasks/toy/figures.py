"""Figures 5.1-5.5 of the thesis from the runs' CSV files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from tasks.engine import plots
from tasks.engine.store import Run
from tasks.toy.curves import NETWORKS, PROBLEMS, columns, diverged, literal_runs, runs_of

Table = list[dict[str, Any]]
Curve = Callable[[Run], tuple[list[float], list[float]]]  # x and y of one run's curve


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """Draw into ``out`` the figures for which there are runs."""
    drawn = [
        _per_epoch(runs, out, "figure5.1", "Training loss per epoch", "train/loss", _literal(runs)),
        _per_epoch(runs, out, "figure5.2", "Test loss per epoch", "test/loss"),
        _per_step(runs, out),
        _objective(runs, out),
        _constrained(runs, out),
    ]
    return [figure for figure in drawn if figure is not None]


def _per_epoch(
    runs: Sequence[Run], out: Path, item: str, title: str, name: str, note: str = ""
) -> plots.FigureFile | None:
    fig, ax = plt.subplots(figsize=(6, 4))
    rows = _bands(ax, runs, PROBLEMS, _metric(name), ("epoch", "loss"))
    _label(ax, "epoch", "mean squared error")
    caption = (
        f"{title} of FPI_GD on the four problems of thesis 5.1.1: geometric mean over the seeds, 95 % interval.{note}"
    )
    return _save(fig, out, item, f"{title} in toy examples", rows, caption)


def _per_step(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, ax = plt.subplots(figsize=(6, 4))
    rows = _bands(ax, runs, PROBLEMS, _steps, ("step", "loss"))
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=0)
    _label(ax, "gradient step", "mean squared error")
    caption = (
        "Test loss of the trained FPI_GD layers after each gradient step: geometric mean over the seeds, 95 % interval."
    )
    return _save(fig, out, "figure5.3", "Test loss per gradient descent step", rows, caption)


def _objective(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(2, 2, figsize=(8, 6), sharex=True)
    rows: Table = []
    for ax, (row, title) in zip(axes.flat, PROBLEMS.items(), strict=True):
        ax.set_title(title)
        ax.axvline(0, color="0.7", linewidth=0.8)
        for index, run in enumerate(runs_of(runs, row)):
            distance, mean, sd = columns(run, "objective.csv", "distance", "mean", "sd")
            rows += [
                {"row": row, "seed": run.seed, "distance": d, "mean": m, "sd": s}
                for d, m, s in zip(distance, mean, sd, strict=True)
            ]
            if index == 0:
                (line,) = ax.plot(distance, mean)
                low, high = zip(*[(m - s, m + s) for m, s in zip(mean, sd, strict=True)], strict=True)
                ax.fill_between(distance, low, high, alpha=0.25, color=line.get_color(), linewidth=0)
    fig.supxlabel("length of the perturbation of x from the target")
    fig.supylabel("learned objective", x=0.006)
    caption = (
        "Learned objective of the first test sample along 10 random directions through its target (first seed): "
        "mean and standard deviation over the directions."
    )
    return _save(fig, out, "figure5.4", "Objective function", rows, caption)


def _constrained(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
    rows: Table = []
    for ax, (kind, name) in zip(axes, (("training", "train/loss"), ("test", "test/loss")), strict=True):
        found = _bands(ax, runs, NETWORKS, _metric(name), ("epoch", "loss"))
        rows += [{"set": kind, **row} for row in found]
        ax.set_title(f"{kind} loss")
        _label(ax, "epoch", "mean squared error" if kind == "training" else "")
    caption = (
        "The box-constrained problem of thesis 5.1.2 with FPI_NN, FPI_GD and the feedforward network of g's structure: "
        "geometric mean over the seeds, 95 % interval."
    )
    return _save(fig, out, "figure5.5", "Train and test loss on the constrained problem", rows, caption)


def _bands(
    ax: Any,
    runs: Sequence[Run],
    names: dict[str, str],
    curve: Curve,
    header: tuple[str, str],
) -> Table:
    """One mean curve with its interval for every row that has runs; returns every point drawn from."""
    curves = {row: {run.seed: curve(run) for run in runs_of(runs, row)} for row in names}
    return plots.row_bands(ax, curves, names, header, logarithmic=True)


def _metric(name: str) -> Curve:
    return lambda run: run.curve(name)


def _steps(run: Run) -> tuple[list[float], list[float]]:
    step, loss = columns(run, "steps.csv", "step", "test_loss")
    return step, loss


def _label(ax: Any, x: str, y: str) -> None:
    ax.set_yscale("log")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(alpha=0.3, which="both", linewidth=0.5)
    if ax.get_legend_handles_labels()[0]:
        ax.legend()


def _literal(runs: Sequence[Run]) -> str:
    """What came of the rows with PyTorch's default initial weights, for the caption."""
    literal = literal_runs(runs)
    if not literal:
        return ""
    steps = [int(run.metric("diverged_after_steps")) for run in literal if diverged(run)]
    note = f" With PyTorch's default initial weights (the literal reading) {len(steps)} of {len(literal)} runs diverged"
    return note + (f", the last after {max(steps)} optimiser steps." if steps else ".")


def _save(fig: Any, out: Path, item: str, title: str, rows: Table, caption: str) -> plots.FigureFile | None:
    try:
        return plots.save_figure(fig, out, item, title, rows, caption) if rows else None
    finally:
        plt.close(fig)
