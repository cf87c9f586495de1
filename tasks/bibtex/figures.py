"""Figures beside table 5.1: F1 per epoch, the fixed-point solves per epoch, and F1 against the threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tasks.bibtex.rows import ITEM, PROTOCOLS, ROWS, by_seed
from tasks.engine import plots
from tasks.engine.plots import Curve
from tasks.engine.store import Run, read_csv

Table = list[dict[str, Any]]
COLOURS = {row: f"C{index}" for index, row in enumerate(ROWS)}
SOLVER = {
    "solver/forward_iterations": "forward iterations",
    "solver/backward_iterations": "backward iterations",
    "solver/forward_residual": "forward residual",
    "solver/backward_residual": "backward residual",
}


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """Draw into ``out`` the figures for which there are runs."""
    drawn = [_training(runs, out), _solver(runs, out), _threshold(runs, out)]
    return [figure for figure in drawn if figure is not None]


def _training(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    rows: Table = []
    for ax, (protocol, title) in zip(axes, PROTOCOLS.items(), strict=True):
        rows += _bands(ax, runs, protocol, list(ROWS), lambda run: run.curve("val/f1"), ("epoch", "f1"))
        ax.set_title(title)
        ax.set_xscale("log")
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("F1, example-averaged (%)")
    caption = (
        "F1 per epoch on the set that selects the epoch: the test set at threshold 0.5 (left), and the held-out part "
        "of the training set at its best threshold (right). Mean over the seeds and its 95 % interval."
    )
    return _save(fig, out, f"{ITEM}-training", "F1 per epoch", rows, caption)


def _solver(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
    rows: Table = []
    for ax, (name, title) in zip(axes.flat, SOLVER.items(), strict=True):
        found = _bands(ax, runs, "paper", ["fpi_gd", "fpi_nn"], _of(name), ("epoch", "value"), logarithmic=True)
        rows += [{"quantity": title, **row} for row in found]
        ax.set_title(title)
        ax.set_yscale("log")
    fig.supxlabel("epoch")
    caption = (
        "The FPI layers' forward and backward solves in training (paper's protocol): iterations and final residual, "
        "mean over the batches of an epoch. Geometric mean over the seeds, 95 % interval."
    )
    return _save(fig, out, f"{ITEM}-solver", "Fixed-point solves per epoch", rows, caption)


def _threshold(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    def curve(run: Run) -> Curve:
        path = run.directory / "threshold.csv"
        points = read_csv(path) if path.exists() else []
        return [point["threshold"] for point in points], [point["f1"] for point in points]

    fig, ax = plt.subplots(figsize=(6.5, 4.5))
    rows = _bands(ax, runs, "honest", list(ROWS), curve, ("threshold", "f1"))
    ax.axvline(0.5, color="0.7", linewidth=0.8)
    ax.set_xlabel("threshold")
    ax.set_ylabel("test F1, example-averaged (%)")
    caption = (
        "Test F1 against the threshold at the epoch chosen by the honest protocol: a diagnosis with test labels, no "
        "selection. The vertical line is the published threshold. Mean over the seeds and its 95 % interval."
    )
    return _save(fig, out, f"{ITEM}-threshold", "F1 against the threshold", rows, caption)


def _of(name: str) -> Callable[[Run], Curve]:
    return lambda run: run.curve(name)


def _bands(
    ax: Axes, runs: Sequence[Run], protocol: str, names: list[str], curve: Callable[[Run], Curve],
    columns: tuple[str, str], logarithmic: bool = False,
) -> Table:  # fmt: skip
    """Draw one band a row of the table, in the row's own colour, and return the points of every seed."""
    curves = {name: {seed: curve(run) for seed, run in by_seed(runs, name, protocol).items()} for name in names}
    rows = plots.row_bands(ax, curves, ROWS, columns, colours=COLOURS, logarithmic=logarithmic)
    if rows:
        ax.legend(fontsize=7)
    return [{"protocol": protocol, **row} for row in rows]


def _save(fig: Any, out: Path, item: str, title: str, rows: Table, caption: str) -> plots.FigureFile | None:
    """Save the figure, unless nothing was drawn."""
    saved = plots.save_figure(fig, out, item, title, rows, caption) if rows else None
    plt.close(fig)
    return saved
