"""The rows of table 5.1 in the paper's order, the two protocols, and how to pick their runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run

ITEM = "table5.1"
ROWS = {
    "mlp": "MLP",
    "feedforward": "Feedforward net",
    "spen": "SPEN",
    "icnn": "ICNN",
    "dvn_gt": "DVN(GT)",
    "dvn_adversarial": "DVN(Adversarial)",
    "fpi_gd": "FPI_GD",
    "fpi_nn": "FPI_NN",
    "control": "matched feedforward control",
}
PROTOCOLS = {"paper": "paper's protocol, test-selected", "honest": "honest protocol"}


def by_seed(runs: Sequence[Run], row: str, protocol: str) -> dict[int, Run]:
    """The finished runs of a row in a protocol, by seed."""
    return {run.seed: run for run in runs if run.row == row and run.protocol == protocol}
