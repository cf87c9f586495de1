"""Figures and claims of both tasks from runs whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks.engine import report
from tasks.engine.store import Run, write_csv
from tasks.flow import traces
from tasks.flow.claims import claims
from tasks.flow.figures import figures
from tasks.flow.rows import CHAIRS, ROWS, SINTEL

FINAL = {
    "flownets": 3.0, "flownets_fpi": 2.5, "flownets_ff": 3.2,
    "init": 2.534, "energy_unrolled": 2.502, "energy_implicit": 2.505,
}  # fmt: skip


def make_run(root: Path, task: str, row: str, seed: int) -> Run:
    directory = root / task / row / f"seed{seed}"
    directory.mkdir(parents=True)
    epe = [FINAL[row] + 1 / (epoch + 1) for epoch in range(3)] + [FINAL[row]]
    metrics = [{"epoch": i + 1.0, "test/epe": value} for i, value in enumerate(epe)]
    flow = torch.rand(1, 2, 20, 30)
    pair = {"frame1": torch.rand(1, 3, 20, 30), "frame2": torch.rand(1, 3, 20, 30), "flow": flow}
    batch = {**pair, "valid": torch.ones(1, 1, 20, 30, dtype=torch.bool), "name": ["shapes/1"]}
    traces.write_examples(directory / "examples.npz", [batch], lambda a, b: flow + 0.1)
    if row in ("flownets_fpi", "energy_implicit"):
        rows = [{"check": n, "forward": 10.0**-n, "backward": 10.0 ** (-2 * n)} for n in (1, 2, 3)]
        write_csv(directory / "convergence.csv", rows)  # type: ignore[arg-type]
    if row.startswith("energy"):
        write_csv(
            directory / "steps.csv", [{"step": n, "test_epe": 2.534 - 0.003 * n, "energy": 1.0} for n in range(11)]
        )
        traces.write_path(directory / "path.npz", {n: flow[0].numpy() + n / 10 for n in (0, 5, 10)})
    run = {
        "task": task,
        "row": row,
        "protocol": "none",
        "seed": seed,
        "data": "shapes",
        "metrics": {"test/epe": epe[-1]},
    }
    return Run(directory, run, metrics)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [make_run(tmp_path, task, row, seed) for task, rows in ROWS.items() for row in rows for seed in (0, 1)]


def test_every_claim_has_the_sign_of_its_truth(runs: list[Run]) -> None:
    found = {claim.text: claim.differences for claim in claims(runs)}
    assert len(found) == 6 and all(min(differences) > 0 and len(differences) == 2 for differences in found.values())
    assert found["the FPI layer lowers FlowNetS' EPE"] == pytest.approx([0.5] * 2)
    assert found["the implicit layer is no worse than 10 unrolled steps (within 0.01 px)"] == pytest.approx([0.007] * 2)
    assert found["10 unrolled steps: the EPE falls monotonically over the gradient steps"] == pytest.approx([0.003] * 2)


def test_a_step_upwards_contradicts_monotony(tmp_path: Path) -> None:
    run = make_run(tmp_path, SINTEL, "energy_unrolled", 0)
    write_csv(run.directory / "steps.csv", [{"step": n, "test_epe": e} for n, e in enumerate((3.0, 2.0, 2.25, 1.0))])
    found = {claim.text: claim.differences for claim in claims([run])}
    assert found["10 unrolled steps: the EPE falls monotonically over the gradient steps"] == pytest.approx([-0.25])
    assert found["10 unrolled steps: the EPE falls from the initial flow to the last gradient step"] == [2.0]


def test_figures_show_every_row(runs: list[Run], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    chairs = figures([run for run in runs if run.run["task"] == CHAIRS], out)
    assert [figure.png for figure in chairs] == ["figure6.3.png", "figure6.4.png", "figure6.4-convergence.png"]
    sintel = figures([run for run in runs if run.run["task"] == SINTEL], out)
    assert [figure.png for figure in sintel] == [
        "figure6.6.png", "figure6.6-convergence.png", "figure6.7.png",
        "figure6.7-energy_unrolled.png", "figure6.7-energy_implicit.png",
    ]  # fmt: skip
    for figure in (*chairs, *sintel):
        assert (out / figure.png).stat().st_size > 5_000
    text = (out / "figure6.4.csv").read_text()
    assert all(row in text for row in ROWS[CHAIRS])
    epe = (out / "figure6.3.csv").read_text().splitlines()
    assert len(epe) == 1 + 3 and float(epe[1].split(",")[-1]) == pytest.approx(0.1 * 2**0.5, abs=1e-3)


def test_no_runs_no_figures(tmp_path: Path) -> None:
    assert figures([], tmp_path) == [] and claims([]) == []


def test_both_tasks_are_reported_by_this_package() -> None:
    for task in ROWS:
        assert report._task_module(task, "claims") is not None
