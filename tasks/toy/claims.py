"""What the thesis says in 5.1 about its figures, each as a difference per seed that is positive where it is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.engine.store import Run
from tasks.engine.verdict import Claim
from tasks.toy.curves import DATA, NETWORKS, PROBLEMS, columns, runs_of

NEAR = 0.2  # a minimum this close to the target (of perturbations up to 2) is at the target
TAIL = 5  # epochs whose mean is a network's final loss in figure 5.5: Adam's last step alone is noise


def claims(runs: Sequence[Run]) -> list[Claim]:
    """The claims of figures 5.1-5.5 for which there are runs."""
    return [*_decrease(runs), *_comparison(runs)]


def _decrease(runs: Sequence[Run]) -> list[Claim]:
    """5.1.1: "the losses of each problem decrease nicely along the training epochs as well as the steps"."""
    statements: list[tuple[str, str, Callable[[Run], float]]] = [
        ("figure5.1", "the training loss falls from the first epoch to the last", lambda run: _fall(run, "train/loss")),
        ("figure5.2", "the test loss falls from the first epoch to the last", lambda run: _fall(run, "test/loss")),
        ("figure5.3", "the test loss falls from step 0 to the last gradient step", _fall_along_steps),
        ("figure5.4", f"the learned objective's minimum lies within {NEAR} of the target", _nearness),
    ]
    return [
        _claim(item, f"{title}: {text}", [difference(run) for run in found])
        for item, text, difference in statements
        for row, title in PROBLEMS.items()
        if (found := runs_of(runs, row))
    ]


def _comparison(runs: Sequence[Run]) -> list[Claim]:
    """5.1.2: "FPI_NN outperforms the other networks for both the train and the test losses"; and FPI_GD's place."""
    pairs = [
        ("constrained_fpi_nn", "constrained_feedforward"),
        ("constrained_fpi_nn", "constrained_fpi_gd"),
        ("constrained_fpi_gd", "constrained_feedforward"),
    ]
    found = []
    for better, other in pairs:
        ours = {run.seed: run for run in runs_of(runs, better)}
        theirs = {run.seed: run for run in runs_of(runs, other)}
        seeds = sorted(ours.keys() & theirs.keys())
        for kind, name in (("training", "train/loss"), ("test", "test/loss")):
            if seeds:
                text = f"{NETWORKS[better]} has a lower final {kind} loss than {NETWORKS[other]}"
                differences = [_final(theirs[seed], name) - _final(ours[seed], name) for seed in seeds]
                found.append(_claim("figure5.5", text, differences))
    return found


def _claim(item: str, text: str, differences: list[float]) -> Claim:
    return Claim(item=item, text=text, differences=differences, data=DATA)


def _fall(run: Run, name: str) -> float:
    _, values = run.curve(name)
    return values[0] - values[-1]


def _final(run: Run, name: str) -> float:
    values = run.curve(name)[1][-TAIL:]
    return sum(values) / len(values)


def _fall_along_steps(run: Run) -> float:
    (loss,) = columns(run, "steps.csv", "test_loss")
    return loss[0] - loss[-1]


def _nearness(run: Run) -> float:
    distance, mean = columns(run, "objective.csv", "distance", "mean")
    return NEAR - abs(distance[mean.index(min(mean))])
