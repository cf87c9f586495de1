"""What the benchmarks share: interleaved timing, live-tensor memory, one table and one JSON form."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tasks.engine.environment import git_state, hardware
from tasks.engine.store import ROOT


@dataclass
class Row:
    """One comparison: ``values`` (seconds or bytes) of every contestant; the ratio is numerator / denominator."""

    name: str
    values: Mapping[str, float]
    numerator: str
    denominator: str

    @property
    def ratio(self) -> float:
        return self.values[self.numerator] / self.values[self.denominator]


def interleaved(
    contestants: Mapping[str, Callable[[], object]],
    repeats: int,
    before: Mapping[str, Callable[[], None]] | None = None,
    *,
    warm: bool = True,
    budget: float = float("inf"),
) -> dict[str, float]:
    """Minimum seconds of each contestant over ``repeats`` rounds in which all take turns.

    ``before`` is not timed.  ``warm`` puts a round that does not count in front; a contestant that has used up
    ``budget`` seconds sits out the remaining rounds.
    """
    best = dict.fromkeys(contestants, float("inf"))
    spent = dict.fromkeys(contestants, 0.0)
    for round_ in range(-1 if warm else 0, repeats):
        for name, run in contestants.items():
            if spent[name] >= budget:
                continue
            if before and name in before:
                before[name]()
            start = time.perf_counter()
            run()
            seconds = time.perf_counter() - start
            spent[name] += seconds
            if round_ >= 0:
                best[name] = min(best[name], seconds)
    return best


def peak_bytes(run: Callable[[], object]) -> float:
    """Highest total of bytes allocated for CPU tensors while ``run`` runs, counted from its start."""
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    assert profile.profiler is not None and profile.profiler.kineto_results is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    level = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        level += event.nbytes()
        highest = max(highest, level)
    return float(highest)


def run(name: str, description: str | None, rows: Callable[[int], list[Row]], repeats: int) -> None:
    """The command line of a benchmark: measure ``rows(repeats)``, print them and, with ``--json FILE``, write them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.perf_counter()
    measured = rows(options.repeats)
    write(name, measured, options.json, options.threads, time.perf_counter() - started)


def write(
    name: str,
    rows: list[Row],
    target: str | None,
    threads: int,
    seconds: float,
    more: Mapping[str, Any] | None = None,
    show: bool = True,
) -> None:
    """Print the comparisons and, if asked, write them as JSON with the machine class and ``more`` entries."""
    table = Table(title=f"benchmark {name}: {hardware()}, {threads} thread(s)")
    for column in ("comparison", "ratio", "values"):
        table.add_column(column, overflow="fold")
    for row in rows:
        values = ", ".join(f"{key} {value:.4g}" for key, value in row.values.items())
        table.add_row(f"{row.name}: {row.numerator} / {row.denominator}", f"{row.ratio:.3f}", values)
    if show:
        Console().print(table)
    if target is not None:
        git = git_state(ROOT)
        record = {
            "benchmark": name,
            "commit": (git["commit"] or "unknown") + ("+changes" if git["dirty"] else ""),
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(),
            "threads": threads,
            "torch": str(torch.__version__),
            "seconds_total": round(seconds, 1),
            "rows": [
                {
                    "name": row.name,
                    "numerator": row.numerator,
                    "denominator": row.denominator,
                    "ratio": row.ratio,
                    "values": dict(row.values),
                }
                for row in rows
            ],
            **(more or {}),
        }
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
        path.with_suffix(".md").write_text(markdown(record))


def markdown(record: Mapping[str, Any]) -> str:
    """A record as a page: one table, every ratio beside everybody's figures, the best of them in bold."""
    lines = [
        f"# Benchmark: {record['benchmark']}",
        "",
        f"{record['hardware']}, {record['threads']} thread(s), torch {record['torch']}. Seconds, or bytes where said; "
        "the least of several interleaved repeats. The ratio is the first of its two names over the second.",
    ]
    if "commit" in record:
        lines += ["", f"Commit {record['commit']}, {record['date']}."]
    if "versions" in record:
        lines += ["", "Versions: " + ", ".join(f"{name} {version}" for name, version in record["versions"].items())]
    lines += ["", "| comparison | ratio | values |", "|---|---|---|"]
    for row in record["rows"]:
        best = min(row["values"].values())
        values = [f"**{k} {v:.3g}**" if v == best else f"{k} {v:.3g}" for k, v in row["values"].items()]
        names = f"{row['numerator']} / {row['denominator']}"
        lines.append(f"| {row['name']} | {names}: {row['ratio']:.3f} | {', '.join(values)} |")
    if record.get("curves"):
        lines += ["", f"![time against residual]({record['benchmark']}.png)"]
    return "\n".join([*lines, *[f"\nLeft out: {reason}" for reason in record.get("skipped", [])]]) + "\n"
