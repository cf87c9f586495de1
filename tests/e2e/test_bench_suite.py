"""The benchmark of the suite's own cost: its bare loop takes a job's steps, its start has stages, its runs are runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tasks.engine import data, store
from tests.e2e.tiny import ROOT
from tests.engine.test_report import add_run

sys.path.insert(0, str(ROOT / "scripts" / "bench"))  # scripts import their neighbours

import startup
import suite
import turns


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["bibtex/fpi_nn", "denoising/fpi_nn"])
def test_the_bare_loop_ends_with_the_weights_of_the_job(experiment: str) -> None:
    given = [f"experiment={experiment}", "protocol=paper", "profile=smoke", "trainer.max_epochs=2"]
    seconds = turns.take_turns(given, 2)  # compares the weights
    assert len(seconds["job"]) == len(seconds["bare loop"]) > 2
    assert all(turn > 0 for who in seconds.values() for turn in who)


def test_a_jobs_row_is_the_mean_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = iter([{"job": [1.0, 2.0], "bare loop": [1.0, 1.0]}, {"job": [2.0, 3.0], "bare loop": [2.0, 2.0]}])
    monkeypatch.setattr(suite, "take_turns", lambda given, steps: next(pairs))
    row = suite.job_row("a row", [], 5, repeats=2)
    assert row.name == "a row, 20 epochs, mean of 2" and row.values == {"job": 4.0, "bare loop": 3.0}
    assert row.ratio == 4 / 3


@pytest.mark.slow
def test_the_start_is_timed_by_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "is_available", lambda name: False)
    (row,) = suite.start_rows(1)
    stages = [row.values[name] for name in startup.STAGES]
    assert all(seconds > 0 for seconds in stages) and row.values["total"] == pytest.approx(sum(stages))


def test_runs_are_copied_as_further_seeds(tmp_path: Path) -> None:
    assert suite.copy_runs(tmp_path / "none", tmp_path / "more", 5) == 0
    for seed in (0, 1):
        add_run(tmp_path / "few", "good", seed, 1.0)
    (tmp_path / "few/paper/tiny/good/seed0/last.ckpt").write_bytes(b"weights")
    assert suite.copy_runs(tmp_path / "few", tmp_path / "more", 5) == 5
    runs, _ = store.load_runs(tmp_path / "more", "paper", "tiny")
    assert [run.directory.name for run in runs if run.directory.name != "seed0"] and len(runs) == 5
    assert not list((tmp_path / "more").rglob("*.ckpt"))


def test_of_many_runs_the_first_seeds_of_every_row_are_copied(tmp_path: Path) -> None:
    for row in ("good", "weak"):
        for seed in (0, 1):
            add_run(tmp_path / "many", row, seed, 1.0)
    aside = tmp_path / "many/paper/tiny/good/seed0"
    shutil.copytree(aside, aside.with_name("seed0.old-20261121-232936"))
    assert suite.copy_runs(tmp_path / "many", tmp_path / "some", 3) == 3
    found = sorted(path.relative_to(tmp_path / "some/paper/tiny") for path in tmp_path.glob("some/*/*/*/*"))
    assert [str(path) for path in found] == ["good/seed0", "good/seed1", "weak/seed0"]
