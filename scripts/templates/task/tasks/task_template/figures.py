"""The figures, drawn from the runs' metrics.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from tasks.engine import plots
from tasks.engine.store import Run
from tasks.task_template.claims import ROWS


def figures(runs: Sequence[Run], out: Path) -> list[plots.FigureFile]:
    """The test loss an epoch, a curve a row with its 95 % interval over the seeds."""
    fig, ax = plt.subplots(figsize=(6, 4))
    points = []
    for row, label in ROWS.items():
        curves = [run.curve("test/loss") for run in runs if run.row == row]
        if curves:
            plots.curve_band(ax, curves[0][0], [ys for _, ys in curves], label, logarithmic=True)
        points += [{"row": row, "epoch": x, "loss": y} for xs, ys in curves for x, y in zip(xs, ys, strict=True)]
    ax.set(xlabel="epoch", ylabel="mean squared error", yscale="log")
    ax.legend()
    caption = "Geometric mean over the seeds, 95 % interval."
    try:
        return [plots.save_figure(fig, out, "figure1", "Test loss per epoch", points, caption)] if points else []
    finally:
        plt.close(fig)
