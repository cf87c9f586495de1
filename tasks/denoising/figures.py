"""Figures 6.1 and 6.2 of the thesis, and what lies beside table 6.1: training, solves, iterations, robustness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tasks.denoising.drawing import SHOWN, draw_iterates, draw_triptychs
from tasks.denoising.rows import LEVELS, PROTOCOLS, ROWS, TABLE, by_seed
from tasks.engine import plots
from tasks.engine.plots import Curve
from tasks.engine.store import Run, read_csv

Table = list[dict[str, Any]]
LEVEL = LEVELS[-1]  # of the figures that show one noise level
COLOURS = {row: f"C{index}" for index, row in enumerate(ROWS)}
LAYERS = [row for row in ROWS if row.startswith("fpi_nn")]
SOLVER = {
    "solver/forward_iterations": "forward iterations",
    "solver/backward_iterations": "backward iterations",
    "solver/forward_converged": "forward solves that converged",
    "solver/backward_converged": "backward solves that converged",
}


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """Draw into ``out`` the figures for which there are runs; every caption names the data."""
    drawn = [
        _triptychs(runs, out),
        _iterates(runs, out),
        _per_iteration(runs, out),
        _training(runs, out),
        _solver(runs, out),
        _robustness(runs, out),
    ]
    return [figure for figure in drawn if figure is not None]


def _triptychs(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    run = _example(runs)
    if run is None:
        return None
    with np.load(run.directory / "pictures.npz") as arrays:
        fig = draw_triptychs(arrays)
        rows: Table = [
            {"image": i, "psnr_noisy": float(before), "psnr_denoised": float(after)}
            for i, (before, after) in enumerate(zip(arrays["psnr_noisy"], arrays["psnr_denoised"], strict=True))
        ]
    caption = f"FPI_NN at σ = {LEVEL}: noisy, denoised and true test images with PSNR. {_source(run)}"
    return plots.save_labelled(fig, out, runs, "figure6.1", "Image denoising examples", rows, caption)


def _iterates(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    run = _example(runs)
    if run is None:
        return None
    with np.load(run.directory / "pictures.npz") as arrays:
        fig = draw_iterates(arrays)
        names = [*map(str, SHOWN), "fixed point"]
        rows: Table = [
            {"iteration": name, "psnr": float(value)}
            for name, value in zip(names, arrays["psnr_iterates"], strict=True)
        ]
    caption = (
        f"States of the trained FPI_NN's solver on its way from x = 0 at σ = {LEVEL}, with PSNR; last, the fixed "
        f"point. {_source(run)}"
    )
    return plots.save_labelled(fig, out, runs, "figure6.2", "Denoising by the number of iterations", rows, caption)


def _per_iteration(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    def column(name: str) -> Callable[[Run], Curve]:
        def curve(run: Run) -> Curve:
            path = run.directory / "iterates.csv"
            points = [row for row in read_csv(path) if name in row] if path.exists() else []
            return [point["iteration"] for point in points], [point[name] for point in points]

        return curve

    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    titles = {"psnr": "PSNR (dB)", "residual": "relative change, eq. 5.4"}
    rows: Table = []
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        found = _bands(
            ax, runs, "honest", [*LAYERS, "unrolled"], column(name), ("iteration", "value"), name == "residual"
        )
        rows += [{"quantity": title, **row} for row in found]
        ax.set_xlabel("iterations from x = 0")
        ax.set_ylabel(title)
        ax.set_xscale("log", base=2)
    axes[1].set_yscale("log")
    caption = (
        f"The trained layers' own solvers (damped, plain or Anderson's) at σ = {LEVEL}, beyond their stopping points "
        "(honest protocol): PSNR of the state and its residual, mean over the first test images, then over the seeds, "
        "95 % interval."
    )
    return plots.save_labelled(
        fig, out, runs, "figure6.2-iterations", "Quality and residual per iteration", rows, caption
    )


def _training(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    there = {run.protocol for run in runs}
    protocols = [protocol for protocol in PROTOCOLS if protocol in there] or [*PROTOCOLS]
    size = (13, 3.75 * len(protocols))
    fig, axes = plt.subplots(len(protocols), len(LEVELS), figsize=size, sharex=True, squeeze=False)
    rows: Table = []
    trained = [row for row in ROWS if row != "nlm"]
    for line, protocol in zip(axes, protocols, strict=True):
        for ax, level in zip(line, LEVELS, strict=True):
            found = _bands(ax, runs, protocol, trained, _of("val/psnr"), ("epoch", "psnr"), level=level)
            rows += [{"sigma": level, **row} for row in found]
            ax.set_title(f"σ = {level}, {protocol} protocol", fontsize=10)
            ax.set_visible(bool(found))
            if values := [row["psnr"] for row in found]:
                ax.set_ylim(max(values) - 4, max(values) + 0.2)  # a diverging run would hide the others
    fig.supxlabel("epoch")
    fig.supylabel("PSNR (dB)", x=0.004)
    caption = (
        "PSNR per epoch on the images that select the epoch: the test images (paper's protocol) and held-out training "
        "images (honest protocol). Mean over the seeds, 95 % interval; rows are cut at the bottom and end where "
        "training diverged."
    )
    return plots.save_labelled(fig, out, runs, f"{TABLE}-training", "PSNR per epoch", rows, caption)


def _solver(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    fig, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True)
    rows: Table = []
    for ax, (name, title) in zip(axes.flat, SOLVER.items(), strict=True):
        found = _bands(ax, runs, "paper", LAYERS, _of(name), ("epoch", "value"), name.endswith("iterations"))
        rows += [{"quantity": title, **row} for row in found]
        ax.set_title(title, fontsize=10)
        if name.endswith("iterations"):
            ax.update_datalim([(1, 1)])  # epoch 1, one iteration: a range even where all solves took equally many
            ax.set_yscale("log")
        else:
            ax.set_ylim(-0.05, 1.05)
    fig.supxlabel("epoch")
    caption = (
        f"The FPI layers' forward and backward solves in training at σ = {LEVEL} (paper's protocol), mean over the "
        "batches of an epoch; over the seeds the mean (iterations: geometric mean), 95 % interval."
    )
    return plots.save_labelled(fig, out, runs, f"{TABLE}-solver", "Fixed-point solves per epoch", rows, caption)


def _robustness(runs: Sequence[Run], out: Path) -> plots.FigureFile | None:
    def curve(run: Run) -> Curve:
        prefix = "test/psnr_at_"
        levels = sorted(float(name.removeprefix(prefix)) for name in run.run["metrics"] if name.startswith(prefix))
        return levels, [run.metric(f"{prefix}{level:g}") for level in levels]

    fig, ax = plt.subplots(figsize=(7, 4.8))
    rows = _bands(ax, runs, "honest", list(ROWS), curve, ("sigma", "psnr"))
    ax.axvline(LEVEL, color="0.7", linewidth=0.8)
    ax.set_xlabel("σ of the test noise (of 255)")
    ax.set_ylabel("test PSNR (dB)")
    caption = (
        f"Trained at σ = {LEVEL} (vertical line), tested at other noise levels (honest protocol). Non-local means is "
        "told 25, too. Mean over the seeds, 95 % interval."
    )
    return plots.save_labelled(
        fig, out, runs, f"{TABLE}-robustness", "Robustness to another noise level", rows, caption
    )


def _example(runs: Sequence[Run]) -> Run | None:
    """The run whose pictures are shown: FPI_NN, first protocol and seed that has them."""
    found = [run for protocol in ("honest", "paper") for run in by_seed(runs, "fpi_nn", LEVEL, protocol).values()]
    return next((run for run in found if (run.directory / "pictures.npz").exists()), None)


def _source(run: Run) -> str:
    return f"Seed {run.seed}, {PROTOCOLS[run.protocol]}."


def _of(name: str) -> Callable[[Run], Curve]:
    return lambda run: run.curve(name)


def _bands(
    ax: Axes, runs: Sequence[Run], protocol: str, names: list[str], curve: Callable[[Run], Curve],
    columns: tuple[str, str], logarithmic: bool = False, level: int = LEVEL,
) -> Table:  # fmt: skip
    """Draw one band a row of the table, in the row's own colour, and return the points of every seed."""
    curves = {name: {seed: curve(run) for seed, run in by_seed(runs, name, level, protocol).items()} for name in names}
    rows = plots.row_bands(ax, curves, ROWS, columns, colours=COLOURS, logarithmic=logarithmic)
    if rows:
        ax.legend(fontsize=6)
        ax.grid(alpha=0.3, linewidth=0.5)
    return [{"protocol": protocol, **row} for row in rows]
