"""Figures 6.3, 6.4, 6.6 and 6.7 of the thesis, and the convergence of both layers, from what the runs left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tasks.engine import plots
from tasks.engine.store import Run
from tasks.flow.figures_flow import comparison, error_map, mean_error, over_iterations
from tasks.flow.pictures import as_flow, read_examples
from tasks.flow.rows import CHAIRS, ROWS, SINTEL, by_seed, columns

Table = list[dict[str, Any]]
Curve = Callable[[Run], tuple[list[float], list[float]]]
SPREAD = "Mean over the seeds and its 95 % interval."
NO_NUMBER = 1e20


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """Draw into ``out`` the figures for which there are runs."""
    drawn = [
        _examples(runs, out, CHAIRS, "figure6.3"),
        _curves(
            runs, out, CHAIRS, "figure6.4", "EPE per epoch with and without the FPI layer", "epoch", "EPE (pixels)",
            lambda run: run.curve("test/epe"), f"End-point error on the evaluation pairs after every epoch. {SPREAD}",
        ),
        _convergence(runs, out, CHAIRS, "figure6.4"),
        _curves(
            runs, out, SINTEL, "figure6.6", "EPE per gradient step", "gradient step", "EPE (pixels)", _steps,
            "End-point error on the evaluation pairs after each plain gradient step on the learned energy, from the "
            f"initial flow, with each row's own step size and metric. {SPREAD}",
        ),
        _convergence(runs, out, SINTEL, "figure6.6"),
        _examples(runs, out, SINTEL, "figure6.7"),
        *(_path(runs, out, row) for row in ROWS[SINTEL]),
    ]  # fmt: skip
    return [figure for figure in drawn if figure is not None]


def _curves(
    runs: Sequence[Run], out: Path, task: str, item: str, title: str, x: str, y: str, curve: Curve, caption: str,
) -> plots.FigureFile | None:  # fmt: skip
    fig, ax = plt.subplots(figsize=(6, 4))
    curves = {row: {seed: curve(run) for seed, run in by_seed(runs, task, row).items()} for row in ROWS[task]}
    rows = plots.row_bands(ax, curves, ROWS[task], (x, y))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(alpha=0.3, linewidth=0.5)
    if rows:
        ax.legend()
    return _save(fig, out, item, title, rows, caption)


def _convergence(runs: Sequence[Run], out: Path, task: str, item: str) -> plots.FigureFile | None:
    """Residuals of one trained layer's forward and backward solve at every check, one line a solve and seed."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 4))
    rows: Table = []
    for ax, solve in zip(axes, ("forward", "backward"), strict=True):
        for index, (row, label) in enumerate(ROWS[task].items()):
            for seed, run in by_seed(runs, task, row).items():
                check, residual = columns(run, "convergence.csv", "check", solve)
                # the first change is relative to x_0 = 0: no number
                drawn = [(n, value) for n, value in zip(check, residual, strict=True) if 0 < value < NO_NUMBER]
                if len(drawn) > 1:
                    new = label not in ax.get_legend_handles_labels()[1]
                    ax.plot(*zip(*drawn, strict=True), color=f"C{index}", alpha=0.8, label=label if new else None)
                    rows += [{"solve": solve, "row": row, "seed": seed, "check": n, "residual": v} for n, v in drawn]
        ax.set_title(f"{solve} layer")
        ax.set_yscale("log")
        ax.set_xlabel("check of the criterion")
        ax.grid(alpha=0.3, linewidth=0.5)
        if ax.get_legend_handles_labels()[0]:
            ax.legend()
    axes[0].set_ylabel("squared relative change")
    caption = (
        "The criterion (5.4) along the forward and the backward solve of the trained layer on one evaluation pair, one "
        "line a seed."
    )
    return _save(fig, out, item, "Convergence of both layers", rows, caption, f"{item}-convergence")


def _examples(runs: Sequence[Run], out: Path, task: str, item: str) -> plots.FigureFile | None:
    """Frame, truth, and the flow and error of every row, of the first seed that has them all."""
    archives = {label: _archives(runs, task, row, "examples.npz") for row, label in ROWS[task].items()}
    archives = {label: found for label, found in archives.items() if found}
    seeds = sorted(set.intersection(*(set(found) for found in archives.values()))) if archives else []
    if not seeds:
        return None
    examples = read_examples({label: found[seeds[0]] for label, found in archives.items()})
    rows = [
        {"pair": example.name, "row": label, "epe": mean_error(error_map(flow, example.truth, example.valid))}
        for example in examples
        for label, flow in example.estimates.items()
    ]
    caption = f"Evaluation pairs: first frame, true flow, and each row's flow with its error (seed {seeds[0]})."
    return _save(comparison(examples), out, item, "Examples", rows, caption)


def _path(runs: Sequence[Run], out: Path, row: str) -> plots.FigureFile | None:
    """The flow of one pair after some of the gradient steps."""
    paths, examples = _archives(runs, SINTEL, row, "path.npz"), _archives(runs, SINTEL, row, "examples.npz")
    seeds = sorted(paths.keys() & examples.keys())
    if not seeds:
        return None
    path, pair = np.load(paths[seeds[0]]), np.load(examples[seeds[0]])
    truth, valid = as_flow(pair["truth_0"]), pair["valid_0"]
    flows = sorted((int(name.removeprefix("flow_")), as_flow(path[name])) for name in path.files)
    rows = [{"step": step, "epe": mean_error(error_map(flow, truth, valid))} for step, flow in flows]
    caption = (
        f"One evaluation pair's flow along plain gradient steps on the energy of '{ROWS[SINTEL][row]}' "
        f"(seed {seeds[0]})."
    )
    fig = over_iterations(flows, truth, valid)
    return _save(fig, out, "figure6.7", "The flow over iterations", rows, caption, f"figure6.7-{row}")


def _archives(runs: Sequence[Run], task: str, row: str, name: str) -> dict[int, Path]:
    paths = {seed: run.directory / name for seed, run in by_seed(runs, task, row).items()}
    return {seed: path for seed, path in paths.items() if path.exists()}


def _steps(run: Run) -> tuple[list[float], list[float]]:
    step, epe = columns(run, "steps.csv", "step", "test_epe")
    return step, epe


def _save(
    fig: Figure, out: Path, item: str, title: str, rows: Table, caption: str, name: str | None = None
) -> plots.FigureFile | None:
    try:
        return plots.save_figure(fig, out, item, title, rows, caption, name) if rows else None
    finally:
        plt.close(fig)
