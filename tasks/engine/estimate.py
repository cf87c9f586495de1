"""How long jobs take, from jobs that were measured: those of this machine's results, then the published record's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tasks.engine import store
from tasks.engine.store import Run

TIMES = "times.json"  # beside summary.json of a published record


@dataclass(frozen=True)
class Measured:
    """Seconds a job took, on what hardware, and how near it is to the job asked about."""

    seconds: float
    hardware: str
    basis: str  # "this row here" | "this row, published" | "mean of the task's rows, published"


class Estimates:
    """Measured times of one task at one profile.

    Args:
        results: the results folder.
        published: the folder of published records; None: results/published of the repository.
    """

    def __init__(self, task: str, profile: str, results: Path, published: Path | None = None) -> None:
        self.runs = store.load_runs(results, profile, task, curves=False)[0]
        folder = (published or store.ROOT / "results" / "published") / store.record(task, profile)
        times, summary = (store.read_json(folder / name) or {} for name in (TIMES, "summary.json"))
        self.times = times if times.get("profile") == profile else {}
        self.summary = summary if summary.get("profile") == profile else {}

    def of(self, directory: str) -> Measured | None:
        """The expected time of a job of the row whose directory is named so (<row> or <row>-honest)."""
        here = [run for run in self.runs if run.directory.parent.name == directory]
        if here:
            return Measured(fmean(run.run["seconds"] for run in here), here[0].run["env"]["hardware"], "this row here")
        rows = self.times.get("rows", {})
        if directory in rows:
            return Measured(rows[directory]["seconds"], self.times["hardware"], "this row, published")
        return self.mean()

    def mean(self) -> Measured | None:
        """The mean over the published jobs of the task."""
        jobs = _jobs(self.summary.get("cells", []))
        if not jobs:
            return None
        seconds = self.summary["cost"]["seconds_total"] / jobs
        return Measured(seconds, self.summary["hardware"], "mean of the task's rows, published")

    def total(self) -> Measured | None:
        """All jobs of the published record one after another."""
        mean, jobs = self.mean(), _jobs(self.summary.get("cells", []))
        return mean and Measured(mean.seconds * jobs, mean.hardware, f"{jobs} jobs, published")


def times(profile: str, runs: Iterable[Run]) -> dict[str, Any]:
    """times.json: {"profile", "hardware", "rows": {<row>[-honest]: {"jobs": n, "seconds": mean of a job}}}."""
    rows: dict[str, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.directory.parent.name, []).append(run)
    hardware = dict.fromkeys(run.run["env"]["hardware"] for found in rows.values() for run in found)
    return {
        "profile": profile,
        "hardware": ", ".join(hardware),
        "rows": {
            name: {"jobs": len(found), "seconds": round(fmean(run.run["seconds"] for run in found), 1)}
            for name, found in sorted(rows.items())
        },
    }


def human(seconds: float) -> str:
    """A duration for people: 40 s, 12 min, 3.5 h, 2.1 days."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size or (unit == "h" and seconds >= size):
            return f"{seconds / size:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "1 s"


def _jobs(cells: Iterable[dict[str, Any]]) -> int:
    counts: dict[tuple[str, str], int] = {}
    for cell in cells:
        key = (cell["row"], cell["protocol"])
        counts[key] = max(counts.get(key, 0), cell["n"])
    return sum(counts.values())
