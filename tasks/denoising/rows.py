"""The rows of table 6.1, what they are called, and how to pick their runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run

TABLE, GAPS = "table6.1", "table6.2"
LEVELS = (15, 20, 25)  # noise levels, grey levels of 255
ROWS = {
    "feedforward": "Feedforward",
    "fpi_nn": "FPI_NN",
    "fpi_nn_plain": "FPI_NN, plain iteration",
    "control": "Feedforward, as many parameters (ours)",
    "fpi_nn_jfb": "FPI_NN, Jacobian-free (ours)",
    "fpi_nn_anderson": "FPI_NN, Anderson (ours)",
    "fpi_nn_budget": "FPI_NN, contraction budget (ours)",
    "unrolled": "Unrolled, 12 iterations (ours)",
    "nlm": "Non-local means (ours)",
}
PROTOCOLS = {"paper": "paper's protocol, test-selected", "honest": "honest protocol"}


def by_seed(runs: Sequence[Run], row: str, level: float, protocol: str) -> dict[int, Run]:
    """The finished runs of a row at a noise level in a protocol, by seed."""
    return {run.seed: run for run in runs if run.row == f"{row}_s{level:g}" and run.protocol == protocol}
