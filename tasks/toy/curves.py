"""Which rows the figures show, and reading what their runs left behind."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run, read_csv

PROBLEMS = {"translation": "Translation", "linear": "Linear equation", "box": "Box", "simplex": "Simplex"}
NETWORKS = {
    "constrained_fpi_nn": "FPI_NN",
    "constrained_fpi_gd": "FPI_GD",
    "constrained_feedforward": "Feedforward",
}


def runs_of(runs: Sequence[Run], row: str) -> list[Run]:
    """The row's runs that have not diverged, by seed."""
    return sorted((run for run in runs if run.row == row and not diverged(run)), key=lambda run: run.seed)


def literal_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs with PyTorch's default initial weights."""
    return [run for run in runs if run.row in {f"{row}_literal" for row in PROBLEMS}]


def diverged(run: Run) -> bool:
    """Whether divergence is the run's result (method.tolerate_divergence)."""
    return run.metric("diverged") == 1


def columns(run: Run, name: str, *keys: str) -> tuple[list[float], ...]:
    """Columns of a CSV artefact of the run, e.g. step and test_loss of steps.csv."""
    rows = read_csv(run.directory / name)
    return tuple([row[key] for row in rows] for key in keys)
