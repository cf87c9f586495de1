"""Curves for the page: which lines, thinned and rounded, from metrics.csv and from the figures' CSV files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tasks.engine.page import charts
from tasks.engine.store import Run, write_csv


def run(row: str, seed: int, metrics: list[dict[str, float]]) -> Run:
    return Run(Path(), {"row": row, "protocol": "paper", "seed": seed}, metrics)


def test_runs_become_lines_by_metric_row_and_seed() -> None:
    metrics = [{"epoch": e, "seconds": 1.0, "val/f1": e / 3, "train/loss": 1 / e} for e in (1, 2, 3)]
    chart = charts.of_runs([run("a", 0, metrics), run("a", 1, metrics), run("b", 0, metrics)], {"a": "Net A"})
    assert chart is not None and chart["x"] == "epoch" and chart["rows"] == ["Net A", "b"]
    assert [facet["values"] for facet in chart["facets"]] == [["val/f1", "train/loss"], ["paper"]]
    assert chart["xs"] == [(1, 2, 3)]  # shared by all lines
    assert [line[:4] for line in chart["lines"]][:3] == [[[0, 0], 0, 0, 0], [[1, 0], 0, 0, 0], [[0, 0], 0, 1, 0]]
    assert chart["lines"][0][4] == (0.33333, 0.66667, 1)
    assert charts.preferred(chart, "test/f1") == 0 and charts.preferred(chart, "test/other") == 1


def test_a_metric_logged_once_is_no_curve_and_gaps_are_kept_out() -> None:
    metrics = [{"epoch": 1, "loss": math.nan}, {"epoch": 2, "once": 1.0}, {"epoch": 3, "loss": 2.0}]
    chart = charts.of_runs([run("a", 0, metrics)], {})
    assert chart is not None and chart["xs"] == [(1, 3)] and chart["lines"][0][4] == (None, 2)
    json.dumps(chart, allow_nan=False)
    assert charts.of_runs([run("a", 0, metrics[1:2])], {}) is None


def test_long_curves_are_thinned_but_keep_their_ends() -> None:
    chart = charts.of_runs([run("a", 0, [{"epoch": e, "loss": float(e)} for e in range(1, 5001)])], {})
    assert chart is not None
    assert len(chart["xs"][0]) == charts.POINTS
    assert (chart["xs"][0][0], chart["xs"][0][-1]) == (1, 5000) and chart["lines"][0][4][-1] == 5000


def test_a_figures_points_are_lines_by_its_facets(tmp_path: Path) -> None:
    rows = [
        {"set": s, "row": "a", "seed": k, "step": i, "loss": i * 0.5, "sd": 9}
        for s in "xy"
        for k in (0, 1)
        for i in (0, 1)
    ]
    write_csv(tmp_path / "f.csv", rows)
    chart = charts.of_figure(tmp_path / "f.csv", {"a": "Net A"})
    assert chart is not None and (chart["x"], chart["rows"]) == ("step", ["Net A"])
    assert chart["facets"] == [{"name": "set", "values": ["x", "y"], "chosen": 0}]
    assert [line[:4] for line in chart["lines"]] == [[[f], 0, k, 0] for f in (0, 1) for k in (0, 1)]
    assert chart["lines"][0][4] == (0, 0.5)


@pytest.mark.parametrize(
    "rows",
    [
        [{"image": "a", "psnr": 1.0}],
        [{"row": "a", "seed": 0, "epoch": 1}],  # no y
        [{"row": "a", "seed": 0, "image": "lena", "psnr": 1.0}],
        [],
    ],
)
def test_a_figure_without_curves_has_no_chart(tmp_path: Path, rows: list[dict]) -> None:
    write_csv(tmp_path / "f.csv", rows)
    assert charts.of_figure(tmp_path / "f.csv", {}) is None
