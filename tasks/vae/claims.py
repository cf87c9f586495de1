"""What the thesis says of figure 6.11, and what its settings do: differences a seed, positive where it is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tasks.engine.store import Run, data_label
from tasks.engine.verdict import Claim
from tasks.vae.rows import CURVES, DISTANCES, ROWS, by_seed, measured

INVERTED = [row for row in ROWS if row != "vae"]
READINGS = "figure6.9"


def claims(runs: Sequence[Run]) -> list[Claim]:
    """Every claim for which there are runs; comparisons of two rows are paired by seed."""
    found = []
    for row in INVERTED:
        for name in measured(runs):
            what = f"{ROWS[row]}, is below the original VAE in the {DISTANCES[name]}"
            best = _paired(runs, row, partial(_difference, metric=f"test/{name}_best"))
            found += _claim(runs, CURVES, f"{what} at the best epoch", best)
            every = _paired(runs, row, partial(_smallest_gap, metric=f"test/{name}"))
            found += _claim(runs, CURVES, f"{what} at every epoch of the second half", every)
        better = _paired(runs, row, partial(_difference, metric="test/mse"))
        found += _claim(runs, CURVES, f"{ROWS[row]}, reconstructs held-out images better than the original VAE", better)
        own = [run.metric("test/mse_encoder") - run.metric("test/mse") for run in by_seed(runs, row).values()]
        found += _claim(runs, READINGS, f"{ROWS[row]}, reconstructs better than its encoder's mean", own)
    literal = list(by_seed(runs, "fpi_literal").values())
    # later the encoder's mean, which nothing trains any more, drifts to where descent has something to do
    stops = [1.5 - _first(run, "test/steps") for run in literal]
    when = "in the first epoch with it"
    found += _claim(runs, READINGS, f"with the settings as printed, FPI_GD stops at its first iteration, {when}", stops)
    same = [0.01 - abs(_first(run, "test/mse", "test/steps") / _first(run, "test/mse_encoder", "test/steps") - 1)
            for run in literal]  # fmt: skip
    text = f"with the settings as printed, FPI_GD changes the reconstruction error by less than 1 %, {when}"
    return [*found, *_claim(runs, READINGS, text, same)]


def _first(run: Run, metric: str, where: str | None = None) -> float:
    """The metric of the first epoch that has it (and `where`), nan if none has."""
    return next((row[metric] for row in run.metrics if metric in row and (where or metric) in row), float("nan"))


def _paired(runs: Sequence[Run], row: str, difference: Callable[[Run, Run], float]) -> list[float]:
    plain, ours = by_seed(runs, "vae"), by_seed(runs, row)
    return [difference(plain[seed], ours[seed]) for seed in ours if seed in plain]


def _difference(vae: Run, ours: Run, metric: str) -> float:
    return vae.metric(metric) - ours.metric(metric)


def _smallest_gap(vae: Run, ours: Run, metric: str) -> float:
    """Over the epochs that both have measured."""
    plain, mine = (dict(zip(*run.curve(metric), strict=True)) for run in (vae, ours))
    common = plain.keys() & mine.keys()
    return min((plain[epoch] - mine[epoch] for epoch in common), default=float("nan"))


def _claim(runs: Sequence[Run], item: str, text: str, differences: list[float]) -> list[Claim]:
    return [Claim(item=item, text=text, differences=differences, data=data_label(runs))] if differences else []
