"""Curves as the page draws them: lines by row and seed, chosen by facets (metric, protocol, ...), thinned and rounded.

A chart is {"x": name, "facets": [{"name", "values", "chosen"}], "rows": [label], "xs": [[x]], "lines": [line]} with a
line [[index of its value, one a facet], index of its row, seed, index of its xs, [y or null]].
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.engine.store import Run

POINTS = 200  # of a line at most: more cannot be told apart on a screen
LINES = 3000  # of a figure's chart at most: beyond, its picture and CSV file say more
NOT_CURVES = ("epoch", "seconds")

Chart = dict[str, Any]
Line = tuple[tuple[str, ...], str, int, tuple[float, ...], tuple[float | None, ...]]  # facets, row, seed, xs, ys


def of_runs(runs: Sequence[Run], labels: dict[str, str]) -> Chart | None:
    """Every metric of metrics.csv by epoch, with the facets metric and protocol; None if no run logged twice."""
    lines = [
        _line((name, run.protocol), labels.get(run.row, run.row), run.seed, xs, ys)
        for run in runs
        for name, xs, ys in _logged(run)
    ]
    return _chart("epoch", ("metric", "protocol"), lines)


def of_columns(columns: Sequence[tuple[str, Sequence[Run]]]) -> Chart | None:
    """The same of runs under names of their own, whatever row and protocol they have."""
    lines = [
        _line((metric,), name, run.seed, xs, ys)
        for name, runs in columns
        for run in runs
        for metric, xs, ys in _logged(run)
    ]
    return _chart("epoch", ("metric",), lines)


def of_figure(path: Path, labels: dict[str, str]) -> Chart | None:
    """The points of a figure's CSV file; None if its columns are not (facets ..., row, seed, x, y[, sd]).

    `row` stands anywhere before `seed`, the two columns after it are x and y; the columns before are facets.
    """
    with open(path, newline="", encoding="utf-8") as file:
        records = list(csv.reader(file))
    head = records[0] if records else []
    if "row" not in head or "seed" not in head[: len(head) - 2]:
        return None
    seed, row = head.index("seed"), head.index("row")
    facets = [i for i in range(seed) if i != row]
    found: dict[tuple[tuple[str, ...], str, int], tuple[list[float], list[float]]] = {}
    try:
        for record in records[1:]:
            key = (tuple(record[i] for i in facets), labels.get(record[row], record[row]), int(float(record[seed])))
            xs, ys = found.setdefault(key, ([], []))
            xs.append(float(record[seed + 1]))
            ys.append(float(record[seed + 2] or "nan"))
    except ValueError:  # text where numbers are expected: a figure of another kind
        return None
    lines = [_line(*key, xs, ys) for key, (xs, ys) in found.items()]
    return _chart(head[seed + 1], [head[i] for i in facets], lines) if len(lines) <= LINES else None


def preferred(chart: Chart, metric: str) -> int:
    """The facet value `metric` to show first for an item that compares `metric`: its curve, else any loss."""
    (names,) = [facet["values"] for facet in chart["facets"] if facet["name"] == "metric"]
    wishes = [f"val/{metric.rpartition('/')[2]}", metric, f"train/{metric.rpartition('/')[2]}", "train/loss"]
    return next((names.index(wish) for wish in wishes if wish in names), 0)


def _logged(run: Run) -> Iterator[tuple[str, list[float], list[float]]]:
    for name in dict.fromkeys(key for row in run.metrics for key in row):
        xs, ys = run.curve(name)
        if name not in NOT_CURVES and len(xs) > 1:
            yield name, xs, ys


def _line(facets: tuple[str, ...], row: str, seed: int, xs: Sequence[float], ys: Sequence[float]) -> Line:
    keep = sorted({round(i * (len(xs) - 1) / (POINTS - 1)) for i in range(POINTS)}) if len(xs) > POINTS else None
    if keep is not None:
        xs, ys = [xs[i] for i in keep], [ys[i] for i in keep]
    return facets, row, seed, tuple(_rounded(x) or 0.0 for x in xs), tuple(_rounded(y) for y in ys)


def _rounded(value: float) -> float | None:
    """Five significant digits; whole numbers without a point, for they are shorter as JSON."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short == int(short) and abs(short) < 1e15 else short


def _chart(x: str, facets: Sequence[str], lines: list[Line]) -> Chart | None:
    if not lines:
        return None
    values: list[Callable[[str], int]] = []
    named = []
    for i, name in enumerate(facets):
        there = list(dict.fromkeys(line[0][i] for line in lines))
        named.append({"name": name, "values": there, "chosen": 0})
        values.append(there.index)
    rows = list(dict.fromkeys(line[1] for line in lines))
    xs: dict[tuple[float, ...], int] = {}
    return {
        **{"x": x, "facets": named, "rows": rows},
        "lines": [
            [[index(value) for index, value in zip(values, where, strict=True)], rows.index(row), seed]
            + [xs.setdefault(at, len(xs)), ys]
            for where, row, seed, at, ys in lines
        ],
        "xs": list(xs),
    }
