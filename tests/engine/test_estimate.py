"""Expected times: this machine's jobs before the published record's, rows before means, nothing made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import estimate, store
from tests.engine.test_report import add_run

CELL = {"item": "table1", "metric": "f1", "values": []}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A record of 3 + 2 jobs in 100 s, and the times of one row."""
    cells = [
        CELL | {"row": "good", "protocol": "paper", "n": 3},
        CELL | {"row": "control", "protocol": "paper", "n": 2},
    ]
    cells.append(cells[0] | {"metric": "micro"})  # another metric of the same jobs
    summary = {"profile": "paper", "hardware": "a CPU", "cells": cells, "cost": {"seconds_total": 100.0}}
    (tmp_path / "published/tiny").mkdir(parents=True)
    store.write_json(tmp_path / "published/tiny/summary.json", summary)
    times = {"profile": "paper", "hardware": "a CPU", "rows": {"good": {"jobs": 3, "seconds": 30.0}}}
    store.write_json(tmp_path / "published/tiny/times.json", times)
    return tmp_path / "published"


def test_the_nearest_measurement_wins(tmp_path: Path, published: Path) -> None:
    before = estimate.Estimates("tiny", "paper", tmp_path, published)
    assert before.of("good") == estimate.Measured(30.0, "a CPU", "this row, published")
    assert before.of("control") == estimate.Measured(20.0, "a CPU", "mean of the task's rows, published")
    assert before.total() == estimate.Measured(100.0, "a CPU", "5 jobs, published")
    add_run(tmp_path, "control", 0, 1.0)  # 2 s
    after = estimate.Estimates("tiny", "paper", tmp_path, published)
    assert after.of("control") == estimate.Measured(2.0, "a CPU, 2 cores", "this row here")


def test_another_profile_says_nothing(tmp_path: Path, published: Path) -> None:
    other = estimate.Estimates("tiny", "sample", tmp_path, published)
    assert other.of("good") is None and other.total() is None
    assert estimate.Estimates("nothing", "paper", tmp_path, published).mean() is None


def test_times_of_a_record_are_means_by_row_and_protocol(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, "good", seed, 1.0)
    add_run(tmp_path, "good", 0, 1.0, "honest")
    runs, _ = store.load_runs(tmp_path, "paper", "tiny", curves=False)
    content = estimate.times("paper", runs)
    rows = {"good": {"jobs": 2, "seconds": 2.0}, "good-honest": {"jobs": 1, "seconds": 2.0}}
    assert content == {"profile": "paper", "hardware": "a CPU, 2 cores", "rows": rows}


def test_the_published_times_are_those_of_the_published_jobs() -> None:
    paths = sorted((store.ROOT / "results/published").glob("*/times.json"))
    assert paths
    for path in paths:
        times, summary = store.read_json(path), store.read_json(path.parent / "summary.json")
        assert times is not None and summary is not None and times["profile"] == summary["profile"]
        total = sum(row["jobs"] * row["seconds"] for row in times["rows"].values())
        assert total == pytest.approx(summary["cost"]["seconds_total"], rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (119, "119 s"),
        (125, "2 min"),
        (3600, "1.0 h"),
        (4000, "1.1 h"),
        (200000, "2.3 days"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert estimate.human(seconds) == text
