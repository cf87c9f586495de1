"""Figures and claims from runs whose curves are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.store import Run, write_csv
from tasks.toy.claims import claims
from tasks.toy.curves import NETWORKS, PROBLEMS
from tasks.toy.figures import figures

FINAL = {"constrained_fpi_nn": 0.01, "constrained_fpi_gd": 0.2, "constrained_feedforward": 0.05}


def make_run(root: Path, row: str, seed: int, final: float = 0.01, minimum: float = 0.1) -> Run:
    """A run whose losses fall from 1 to ``final`` in 10 epochs, and whose objective is lowest at ``minimum``."""
    directory = root / row / f"seed{seed}"
    directory.mkdir(parents=True)
    losses = [1 + (final - 1) * min(epoch / 4, 1) + 0.001 * seed for epoch in range(10)]
    metrics = [{"epoch": i + 1.0, "train/loss": 2 * loss, "test/loss": loss} for i, loss in enumerate(losses)]
    if row in PROBLEMS:
        write_csv(directory / "steps.csv", [{"step": n, "test_loss": 1 / (1 + n)} for n in (0, 1, 10, 100)])
        around = [i / 10 for i in range(-20, 21)]
        curve = [{"distance": r, "mean": (r - minimum) ** 2, "sd": 0.1 * abs(r)} for r in around]
        write_csv(directory / "objective.csv", curve)
    final_row = {name: value for name, value in metrics[-1].items() if name != "epoch"}
    run = {"task": "toy", "row": row, "protocol": "none", "seed": seed, "metrics": {**final_row, "diverged": 0.0}}
    return Run(directory, run, metrics)


def make_diverged(root: Path, row: str, seed: int) -> Run:
    metrics = {"diverged": 1.0, "diverged_after_steps": 3.0, "cost/g_evaluations": 1000.0}
    run = {"task": "toy", "row": row, "protocol": "none", "seed": seed, "metrics": metrics}
    return Run(root / row / f"seed{seed}", run, [{"epoch": 1.0, **metrics}])


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    found = [make_run(tmp_path, row, seed) for row in PROBLEMS for seed in (1, 0)]
    found += [make_run(tmp_path, row, seed, FINAL[row]) for row in NETWORKS for seed in (0, 1)]
    return found + [make_diverged(tmp_path, f"{row}_literal", 0) for row in PROBLEMS]


def test_every_claim_has_the_sign_of_its_truth(runs: list[Run]) -> None:
    found = {claim.text: claim for claim in claims(runs)}
    assert len(found) == 4 * len(PROBLEMS) + 6
    for text, claim in found.items():
        holds = "FPI_GD has a lower" not in text  # FINAL has FPI_GD last
        assert len(claim.differences) == 2
        assert all((difference > 0) == holds for difference in claim.differences), text
    assert found["FPI_NN has a lower final test loss than Feedforward"].differences == pytest.approx([0.04, 0.04])
    assert found["Box: the test loss falls from the first epoch to the last"].differences == pytest.approx([0.99] * 2)


def test_a_minimum_away_from_the_target_contradicts_the_claim(tmp_path: Path) -> None:
    (claim,) = [c for c in claims([make_run(tmp_path, "box", 0, minimum=-0.5)]) if c.item == "figure5.4"]
    assert claim.differences == pytest.approx([-0.3])


def test_networks_are_compared_on_common_seeds(tmp_path: Path) -> None:
    ours = [make_run(tmp_path, "constrained_fpi_nn", seed) for seed in (0, 1, 2)]
    theirs = [make_run(tmp_path, "constrained_feedforward", seed, 0.05) for seed in (1, 2, 3)]
    found = claims([*ours, *theirs])
    assert len(found) == 2 and all(len(claim.differences) == 2 for claim in found)


def test_figures_show_every_row_and_seed(runs: list[Run], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    out.mkdir()
    drawn = {figure.item: figure for figure in figures(runs, out)}
    assert list(drawn) == [f"figure5.{i}" for i in range(1, 6)]
    for item, figure in drawn.items():
        points = (out / figure.csv).read_text(encoding="utf-8")
        assert all(row in points for row in (NETWORKS if item == "figure5.5" else PROBLEMS))
        assert (out / figure.png).stat().st_size > 5_000 and (out / figure.svg).is_file()
    assert "4 of 4 runs diverged, the last after 3 optimiser steps" in drawn["figure5.1"].caption


def test_no_runs_no_figures(tmp_path: Path) -> None:
    assert figures([], tmp_path) == [] and claims([]) == []
    only = [make_run(tmp_path, "box", 0)]
    assert [figure.item for figure in figures(only, tmp_path)] == [f"figure5.{i}" for i in range(1, 5)]
