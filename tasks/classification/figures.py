"""Figures 5 to 7 of the paper (one a data set), table 1 beside the numbers of others, and theorem 3.1 measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tasks.classification.rows import (
    ADJOINTS,
    FAMILIES,
    FIGURES,
    PROTOCOLS,
    REPORTED,
    ROWS,
    by_seed,
    task_of,
)
from tasks.engine import plots
from tasks.engine.store import Run
from tasks.engine.verdict import mean_ci95

Curve = tuple[list[float], list[float]]
Table = list[dict[str, Any]]
QUOTED = "Crosses: reported, as the paper quotes them from Dupont et al. (2019) and Winston & Kolter (2020)."
COLOURS = {adjoint: f"C{index}" for index, adjoint in enumerate(ADJOINTS)}  # the paper's JFB is blue, too


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """Draw into ``out`` the figures for which there are runs; every caption names the data."""
    if not runs:
        return []
    drawn = [_table(runs, out)]
    for number, (prefix, name) in enumerate(FAMILIES[task_of(runs)].items()):
        suffix = f"-{prefix.strip('_') or 'plain'}" if number else ""
        drawn += [_training(runs, out, prefix, name, suffix), _theorem(runs, out, prefix, name, suffix)]
        drawn.append(_solves(runs, out, prefix, name, suffix))
    return [figure for figure in drawn if figure is not None]


def _training(runs: Sequence[Run], out: Path, prefix: str, name: str, suffix: str) -> plots.FigureFile | None:
    panels: list[tuple[str, str, Callable[[Run], Curve]]] = [
        ("epoch", "test accuracy (%)", lambda run: run.curve("val/accuracy")),
        ("seconds of training", "test accuracy (%)", _accuracy_by_time),
        ("epoch", "seconds an epoch", _seconds_by_epoch),
    ]
    fig, axes = plt.subplots(1, 3, figsize=(13, 4))
    rows = _panels(axes, panels, runs, prefix)
    for ax in axes[:2]:
        _zoom(ax)
    axes[2].set_ylim(bottom=0)
    caption = (
        f"The {name}: the same model, data and batches with three backpropagation schemes. Left and middle: test "
        "accuracy after each epoch (paper's protocol) and against training time. Right: time of each epoch, "
        "validation not counted. Mean over the seeds, 95 % interval."
    )
    item = f"{FIGURES[task_of(runs)]}{suffix}"
    title = f"Jacobian-free against Jacobian-based backpropagation, {name}"
    return plots.save_labelled(fig, out, runs, item, title, rows, caption)


def _theorem(runs: Sequence[Run], out: Path, prefix: str, name: str, suffix: str) -> plots.FigureFile | None:
    titles = {
        "jfb/cosine": "cosine, mean gradient of the samples",
        "jfb/cosine_min": "cosine, worst sample",
        "jfb/norm": "largest ‖∂R/∂u‖ measured",
    }
    panels = [("epoch", title, _of(metric)) for metric, title in titles.items()]
    fig, axes = plt.subplots(1, 3, figsize=(13, 4))
    rows = _panels(axes, panels, runs, prefix)
    for ax in axes[:2]:
        ax.set_ylim(max(-1.02, min(0.0, ax.get_ylim()[0])), 1.02)
        ax.axhline(0, color="0.6", linewidth=0.8)
    axes[2].set_ylim(0, 1.02)
    caption = (
        f"The {name}: cosine between the Jacobian-free direction and the gradient with respect to all weights, at "
        "a few training images after each epoch (1: the gradient itself; above 0: descent, theorem 3.1), and the "
        "contraction constant at their fixed points, in networks trained by each scheme (paper's protocol). The "
        "gradient is that of dense linear algebra. Mean over the seeds, 95 % interval."
    )
    title = f"The Jacobian-free direction and the gradient, {name}"
    return plots.save_labelled(fig, out, runs, f"theorem3.1{suffix}", title, rows, caption)


def _solves(runs: Sequence[Run], out: Path, prefix: str, name: str, suffix: str) -> plots.FigureFile | None:
    panels = [
        ("epoch", "forward iterations", _of("solver/forward_iterations")),
        ("epoch", "backward iterations", _of("solver/backward_iterations")),
        ("epoch", "Jacobian products so far, one a sample", _of("cost/jacobian_products")),
    ]
    fig, axes = plt.subplots(1, 3, figsize=(13, 4))
    rows = _panels(axes, panels, runs, prefix)
    for ax in axes:
        ax.set_ylim(bottom=0)
    caption = (
        f"The {name}: iterations of the forward and backward solves in training, mean over the samples of an epoch, "
        "and products with R's Jacobian (paper's protocol). Mean over the seeds, 95 % interval."
    )
    return plots.save_labelled(fig, out, runs, f"table2-solves{suffix}", f"Solves in training, {name}", rows, caption)


def _table(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    """Our rows with their intervals; on the paper's data, the numbers that it quotes from others below."""
    task = task_of(runs)
    stand_in = any(run.run["stand_in"] for run in runs)
    reported = {} if stand_in else {f"{name}, reported": accuracy for name, accuracy in REPORTED[task].items()}
    rows: Table = []
    fig, ax = plt.subplots(figsize=(8, 5))
    places = {label: -place for place, label in enumerate([*ROWS[task].values(), *reported])}
    for protocol, marker in zip(PROTOCOLS, "os", strict=True):
        for row, label in ROWS[task].items():
            values = [run.metric("test/accuracy") for run in by_seed(runs, row, protocol).values()]
            if not values:
                continue
            mean, half = mean_ci95(values)
            ax.errorbar(
                mean, places[label], xerr=half or 0.0, fmt=marker, capsize=3, color="C0" if marker == "o" else "C1"
            )
            rows.append({"row": label, "protocol": protocol, "accuracy": mean, "ci95": half, "n": len(values)})
    if rows:
        for label, accuracy in reported.items():
            ax.plot(accuracy, places[label], "x", color="0.4")
            rows.append({"row": label, "protocol": "reported", "accuracy": accuracy})
    ax.set_yticks(list(places.values()), list(places), fontsize=8)
    ax.set_xlabel("test accuracy (%)")
    ax.set_xlim(right=min(ax.get_xlim()[1], 100.5))
    ax.grid(alpha=0.3, linewidth=0.5)
    caption = (
        "Circles: paper's protocol, test-selected; squares: honest protocol; mean over the seeds, 95 % interval. "
        + ("These are not the paper's data: the numbers it reports do not compare." if stand_in else QUOTED)
    )
    return plots.save_labelled(fig, out, runs, "table1-reported", "Accuracy beside reported numbers", rows, caption)


def _accuracy_by_time(run: Run) -> Curve:
    return run.curve("cost/train_seconds")[1], run.curve("val/accuracy")[1]


def _seconds_by_epoch(run: Run) -> Curve:
    epochs, total = run.curve("cost/train_seconds")
    return epochs, [after - before for before, after in pairwise([0.0, *total])]


def _of(name: str) -> Callable[[Run], Curve]:
    return lambda run: run.curve(name)


def _panels(
    axes: Any, panels: Sequence[tuple[str, str, Callable[[Run], Curve]]], runs: Sequence[Run], prefix: str
) -> Table:
    """One band an adjoint in each panel; the points of every seed."""
    rows: Table = []
    for ax, (x_name, y_name, curve) in zip(axes, panels, strict=True):
        for adjoint, label in ADJOINTS.items():
            found = {seed: curve(run) for seed, run in by_seed(runs, f"{prefix}{adjoint}", "paper").items()}
            seeds = {seed: (xs, ys) for seed, (xs, ys) in found.items() if ys}
            if not seeds:
                continue
            length = min(len(ys) for _, ys in seeds.values())
            xs = [sum(xs[i] for xs, _ in seeds.values()) / len(seeds) for i in range(length)]
            plots.curve_band(ax, xs, [ys[:length] for _, ys in seeds.values()], label, color=COLOURS[adjoint])
            for seed, points in seeds.items():
                rows += [
                    {"quantity": y_name, "row": f"{prefix}{adjoint}", "seed": seed, "against": x_name, "x": x, "y": y}
                    for x, y in zip(*points, strict=True)
                ]
        ax.set_xlabel(x_name)
        if x_name == "epoch":
            ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_ylabel(y_name)
        ax.grid(alpha=0.3, linewidth=0.5)
        if ax.lines:
            ax.legend(fontsize=8)
    return rows


def _zoom(ax: Axes) -> None:
    """The upper part, where the curves differ."""
    values = [float(y) for line in ax.lines for y in np.asarray(line.get_ydata())]
    if values:
        middle = sorted(values)[len(values) // 2]
        ax.set_ylim(middle - 2 * max(max(values) - middle, 0.5), max(values) + 0.2 * max(max(values) - middle, 0.5))
