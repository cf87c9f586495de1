"""The rows of both flow tasks and how to pick their runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run, read_csv

CHAIRS, SINTEL = "flow-chairs", "flow-sintel"
ROWS = {
    CHAIRS: {
        "flownets": "FlowNetS",
        "flownets_fpi": "FlowNetS + FPI",
        "flownets_ff": "FlowNetS + feedforward",
    },
    SINTEL: {
        "init": "initial flow",
        "energy_unrolled": "10 unrolled steps",
        "energy_implicit": "implicit layer",
    },
}


def by_seed(runs: Sequence[Run], task: str, row: str) -> dict[int, Run]:
    """The finished runs of a row, by seed."""
    found = [run for run in runs if run.run["task"] == task and run.row == row]
    return {run.seed: run for run in sorted(found, key=lambda run: run.seed)}


def columns(run: Run, name: str, *keys: str) -> tuple[list[float], ...]:
    """Columns of a CSV artefact of the run; empty where it has no such file, rows without a value left out."""
    path = run.directory / name
    rows = read_csv(path) if path.exists() else []
    complete = [row for row in rows if all(key in row for key in keys)]
    return tuple([row[key] for row in complete] for key in keys)
