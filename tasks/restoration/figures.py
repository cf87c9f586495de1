"""Figures 2 and 3 of the poster, and what lies beside table 1: training, solves, quality per iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tasks.engine import plots
from tasks.engine.images import Picture, grid
from tasks.engine.store import Run, read_csv
from tasks.restoration.rows import PROBLEMS, ROWS, TABLE, by_seed, present

Curve = tuple[list[float], list[float]]
Table = list[dict[str, Any]]
COLOURS = {row: f"C{i}" for i, row in enumerate(("tv", "pnp", "podm", "rpodm", "rpodm_tied", "fpi", "fista"))}
ITERATIVE = ("podm", "pnp", "rpodm", "rpodm_tied", "fpi")
RESOLVED = 1e-7  # relative differences of Φ below it are rounding
TRAINED = ("rpodm", "rpodm_tied", "fpi")


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """Draw into ``out`` the figures for which there are runs; every caption names the data."""
    drawn = [_convergence(runs, out), *(_pictures(runs, out, problem) for problem in PROBLEMS)]
    drawn += [_training(runs, out), _solver(runs, out)]
    return [figure for figure in drawn if figure is not None]


def _convergence(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    """Φ, relative change and PSNR per iteration: PODM, FISTA, the denoiser prior and the learned rows."""
    kinds = {"objective": "Φ / lowest Φ − 1", "change": "relative change", "psnr": "PSNR (dB)"}
    fig, axes = plt.subplots(len(PROBLEMS), 3, figsize=(13, 10), squeeze=False)
    rows: Table = []
    for line, (problem, title) in zip(axes, PROBLEMS.items(), strict=True):
        for ax, (kind, label) in zip(line, kinds.items(), strict=True):
            logarithmic = kind != "psnr"
            for base in (*ITERATIVE, "fista"):
                name = present(runs, "podm" if base == "fista" else base, problem)
                if name is None:
                    continue
                called = "FISTA, the same Φ" if base == "fista" else ROWS[name]
                curve, about = _column(kind, float(base == "fista")), {"problem": problem, "quantity": kind}
                rows += _band(ax, by_seed(runs, name, problem), curve, called, base, about, logarithmic)
            if logarithmic:
                ax.set_yscale("log")
            ax.set_xlabel("iteration or stage")
            ax.set_ylabel(f"{label}, {title}")
            ax.grid(alpha=0.3, linewidth=0.5)
            if ax.lines:
                ax.legend(fontsize=6)
    caption = (
        "PODM against FISTA on the same Φ (p = 0.8, for which FISTA has no guarantee), the denoiser prior (IRCNN's "
        "part) and, on their own terms, the learned rows. The first test images, mean over them, then over the seeds, "
        "95 % interval (Φ and change: geometric mean)."
    )
    return plots.save_labelled(fig, out, runs, "figure2", "Convergence", rows, caption)


def _pictures(runs: Sequence[Run], out: Path, problem: str) -> plots.FigureFile | None:
    names = [present(runs, base, problem) for base in ("tv", "pnp", "podm", "rpodm", "fpi")]
    found = []
    for name in names:
        seeds = {} if name is None else by_seed(runs, name, problem)
        run = next((run for run in seeds.values() if (run.directory / "pictures.npz").exists()), None)
        if name is not None and run is not None:
            with np.load(run.directory / "pictures.npz") as arrays:
                found.append((ROWS[name], dict(arrays)))
    if not found:
        return None
    first = found[0][1]
    rows: Table = []
    lines: list[list[Picture]] = []
    for i, truth in enumerate(first["truth"]):
        lines.append([])
        for label, arrays, name in [("input", first, "input"), *((*one, "restored") for one in found)]:
            value = float(arrays[f"psnr_{name}"][i])
            lines[i].append(Picture(arrays[name][i], f"{label.partition(' (')[0]}, {value:.2f} dB"))
            rows.append({"image": i, "row": label, "psnr": value})
        lines[i].append(Picture(truth, "truth"))
    fig = grid(lines, 2.1 * len(lines[0]), 8)
    title = f"Restored images, {PROBLEMS[problem]}"
    caption = "The first test images; what the methods start from, what each makes of it, and the truth, with PSNR."
    item = "figure3" if problem == "deblur" else f"figure3-{problem}"
    return plots.save_labelled(fig, out, runs, item, title, rows, caption)


def _training(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(1, len(PROBLEMS), figsize=(13, 4.2))
    rows: Table = []
    for ax, (problem, title) in zip(axes, PROBLEMS.items(), strict=True):
        for name in TRAINED:
            seeds, about = by_seed(runs, name, problem), {"problem": problem}
            rows += _band(ax, seeds, lambda run: run.curve("val/psnr"), ROWS[name], name, about)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3, linewidth=0.5)
        if ax.lines:
            ax.legend(fontsize=7)
    axes[0].set_ylabel("validation PSNR (dB)")
    caption = "PSNR per epoch on held-out training images, which select the epoch; mean over the seeds, 95 % interval."
    return plots.save_labelled(fig, out, runs, f"{TABLE}-training", "PSNR per epoch", rows, caption)


def _solver(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(1, 2, figsize=(10, 4))
    rows: Table = []
    for ax, direction in zip(axes, ("forward", "backward"), strict=True):
        for i, (problem, title) in enumerate(PROBLEMS.items()):
            seeds, about = by_seed(runs, "fpi", problem), {"problem": problem, "direction": direction}
            curve = _metric(f"solver/{direction}_iterations")
            rows += _band(ax, seeds, curve, title, "fpi", about, colour=f"C{i}")
        ax.set_xlabel("epoch")
        ax.set_ylabel(f"{direction} iterations")
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3, linewidth=0.5)
        if ax.lines:
            ax.legend(fontsize=7)
    caption = "Iterations of the FPI layer's solves in training, mean over images; over the seeds, 95 % interval."
    return plots.save_labelled(fig, out, runs, f"{TABLE}-solver", "Fixed-point solves per epoch", rows, caption)


def _metric(name: str) -> Callable[[Run], Curve]:
    return lambda run: run.curve(name)


def _column(name: str, fista: float) -> Callable[[Run], Curve]:
    def curve(run: Run) -> Curve:
        path = run.directory / "curves.csv"
        points = [p for p in read_csv(path) if name in p and p["fista"] == fista] if path.exists() else []
        values = [p[name] for p in points]
        if name == "objective" and values:  # above the lowest of both methods, as far as float32 resolves it
            lowest = min(p[name] for p in read_csv(path))
            values = [value / lowest - 1 + RESOLVED for value in values]
        return [p["iteration"] for p in points], values

    return curve


def _band(
    ax: Axes, seeds: dict[int, Run], curve: Callable[[Run], Curve], label: str, row: str,
    about: dict[str, Any], logarithmic: bool = False, colour: str | None = None,
) -> Table:  # fmt: skip
    """Draw one band, in the row's own colour, and return the points of every seed."""
    found = {seed: points for seed, run in seeds.items() if (points := curve(run))[0]}
    if not found:
        return []
    length = min(len(xs) for xs, _ in found.values())
    floor = 1e-12 if logarithmic else -np.inf  # a change of exactly 0 has no logarithm
    curves = [[max(y, floor) for y in ys[:length]] for _, ys in found.values()]
    xs = next(iter(found.values()))[0][:length]
    plots.curve_band(ax, xs, curves, label, logarithmic=logarithmic, color=colour or COLOURS[row])
    return [
        {**about, "row": row, "seed": seed, "x": x, "y": y}
        for seed, points in found.items()
        for x, y in zip(*points, strict=True)
    ]
