"""The rows of figure 6.11, what they are called, and how to pick their runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run

CURVES = "figure6.11"
ROWS = {
    "vae": "Original VAE",
    "fpi": "FPI_GD, workable reading",
    "fpi_literal": "FPI_GD, settings as printed",
    "fpi_separate": "FPI_GD as printed, separate small network",
    "fpi_lbfgs": "FPI_GD, workable, L-BFGS (ours)",
}
DISTANCES = {
    "fid": "FID",
    "fd_lite0": "Fréchet distance of EfficientNet-Lite0 (not FID)",
    "fd_random": "Fréchet distance of random features (not FID)",
}


def by_seed(runs: Sequence[Run], row: str) -> dict[int, Run]:
    """The finished runs of a row, by seed."""
    return {run.seed: run for run in runs if run.row == row}


def measured(runs: Sequence[Run]) -> list[str]:
    """The distances that at least one run has."""
    return [name for name in DISTANCES if any(f"test/{name}" in run.run["metrics"] for run in runs)]
