"""What is claimed of the rows: one difference a seed, positive where the claim is true."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run
from tasks.engine.verdict import Claim

ROWS = {"fpi_nn": "FPI_NN", "feedforward": "Feedforward"}


def claims(runs: Sequence[Run]) -> list[Claim]:
    """The claims for which there are runs; engine/verdict.py judges them."""
    losses = {row: {run.seed: run.metric("test/loss") for run in runs if run.row == row} for row in ROWS}
    seeds = sorted(losses["fpi_nn"].keys() & losses["feedforward"].keys())
    if not seeds:
        return []
    differences = [losses["feedforward"][seed] - losses["fpi_nn"][seed] for seed in seeds]
    return [Claim("table1", "FPI_NN has a lower test loss than Feedforward", differences, runs[0].run["data"])]
