"""Runs side by side: what differs in their configs, their final metrics and curves, as text and as one HTML page."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.engine import console, page, store, wording
from tasks.engine.cli import Script
from tasks.engine.errors import ConfigError
from tasks.engine.page import charts, details
from tasks.engine.store import Run
from tasks.engine.verdict import mean_ci95

SCRIPT = Script(
    "compare.py",
    "Compare runs side by side; RUN is a job's directory, or a row's with its seeds.",
    {"to": ("results/compare.html", "the page to write, relative to the repository")},
    words="RUN RUN ...",
)


@dataclass(frozen=True)
class Column:
    """One side: the jobs of a directory, seeds of one row."""

    name: str
    runs: list[Run]

    def config(self) -> dict[str, Any]:
        """The flat, compared keys of the first job's config."""
        path = self.runs[0].directory / "config.yaml"
        return store.compared(yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {})

    def metric(self, name: str) -> str:
        values = [run.metric(name) for run in self.runs if name in run.run["metrics"]]
        if not values:
            return "–"
        mean, half = mean_ci95(values)
        return wording.plus_minus(store.finite(mean), store.finite(half), len(values))


def main(arguments: Sequence[str]) -> int:
    """`RUN RUN ... [to=results/compare.html]`: print the differences and the metrics, and write the page."""
    names, pairs = SCRIPT.parse(arguments)
    if len(names) < 2:
        raise ConfigError(f"two runs or more are compared; {SCRIPT.usage}")
    columns = _short_names([load(name) for name in names])
    tables = [(title, rows) for title, rows in _tables(columns) if rows]
    for title, rows in tables:
        console.table([title, *(column.name for column in columns)], rows)
    target = store.results_root((SCRIPT.defaults | pairs)["to"])
    target.parent.mkdir(parents=True, exist_ok=True)
    store.atomic_write(target, page.render("compare.html.j2", title="fpi: comparison", **_content(columns, tables)))
    console.say(f"{target}")
    return 0


def load(name: str) -> Column:
    """The finished jobs of a directory that holds a run.json, or seed<k> directories that do. Raises ConfigError."""
    folder = store.results_root(name)
    found = sorted(path for path in folder.glob("seed*") if re.fullmatch(r"seed\d+", path.name))
    runs = [run for path in (folder, *found) if (run := store.load_run(path)) is not None]
    if not runs:
        raise ConfigError(f"{folder} has no finished job: expected a run.json in it or in its seed<k> directories.")
    runs.sort(key=lambda run: run.seed)
    return Column(str(folder), runs)


def _short_names(columns: list[Column]) -> list[Column]:
    """The columns named by what their directories do not share."""
    shared = os.path.commonpath([os.path.dirname(column.name) for column in columns])
    return [Column(os.path.relpath(column.name, shared), column.runs) for column in columns]


def _tables(columns: list[Column]) -> list[tuple[str, list[list[str]]]]:
    """Config keys that differ, provenance, and every metric that a column has."""
    configs = [column.config() for column in columns]
    many = any(len(column.runs) > 1 for column in columns)  # then the seeds are no difference
    keys = sorted({key for config in configs for key in config if not (many and key.rpartition(".")[2] == "seed")})
    values = [(key, [str(config.get(key, "(none)")) for config in configs]) for key in keys]
    metrics = dict.fromkeys(name for column in columns for run in column.runs for name in run.run["metrics"])
    tested_first = sorted(metrics, key=lambda name: not name.startswith("test/"))
    made = {
        "data": lambda run: run.run["data"],
        "epochs": lambda run: str(run.run["epochs"]),
        "seconds": lambda run: f"{run.run['seconds']:.1f}",
        "commit": lambda run: details.commit(run)[:10],
        "hardware": lambda run: run.run["env"]["hardware"],
        "seeds": lambda run: str(run.seed),
    }
    return [
        ("Config", [[key, *row] for key, row in values if len(set(row)) > 1]),
        ("Metric", [[name, *(column.metric(name) for column in columns)] for name in tested_first]),
        ("Run", [[k, *(", ".join(dict.fromkeys(map(f, c.runs))) for c in columns)] for k, f in made.items()]),
    ]


def _content(columns: list[Column], tables: list[tuple[str, list[list[str]]]]) -> dict[str, Any]:
    curves = charts.of_columns([(column.name, column.runs) for column in columns])
    first = columns[0].runs[0].run
    monitor = next((name for name in first["metrics"] if name.startswith("val/")), "train/loss")
    blocks = []
    for number, column in enumerate(columns):
        (block, *_) = details.runs_by_row(str(number), column.runs, {})
        blocks.append(block | {"label": column.name, "links": []})
    metric = charts.preferred(curves, monitor) if curves else 0
    return {"columns": columns, "tables": tables, "curves": curves, "metric": metric, "blocks": blocks}
