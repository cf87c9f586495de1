"""What the suite costs beside the model's own compute: a job, its start, the report and its page.

    python scripts/bench/suite.py                                       # table
    python scripts/bench/suite.py --json FILE --parts job start report

1. job: a whole job (data, training, checkpoints, W&B offline, test, pictures) over a bare loop of the same steps and
   evaluations, which ends with the same weights (bounds: 1.05 for Bibtex, 1.02 for denoising);
2. start: from the start of `scripts/train.py` to its first training step, by stage, the least of several (bound: 8 s);
3. report: `scripts/report.py all` over 500 runs, copies of those in `results/` (bound: 10 s), as a command that starts
   from nothing: unchanged, with one run more, and with all figures drawn anew; and the largest of its pages opening in
   Chromium (bound: 2 s; FPI_CHROMIUM).

The Bibtex data are used if they are there, else a generated sample.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count as counting
from pathlib import Path
from typing import Any

import torch
from common import Row, write
from turns import take_turns

from tasks.engine import data, store

BIBTEX = ["experiment=bibtex/fpi_nn", "protocol=paper"]
DENOISING = [  # 160 images of 150 pixels a side, where the paper has 400 of 180
    *("experiment=denoising/fpi_nn", "protocol=paper", "profile=sample", "data.crop=150", "data.n_train=160"),
    *("data.n_test=4", "data.robustness=[]", "data.batch_size=4", "task.max_iter=100"),
]
EPOCHS = 20
RUNS = 500
BOUND = "bound"


def job_rows(repeats: int) -> list[Row]:
    """A job over a bare loop."""
    bibtex = "paper" if data.is_available("bibtex") else "sample"
    return [
        job_row(f"Bibtex ({bibtex}), FPI_NN", [*BIBTEX, f"profile={bibtex}"], 30, repeats),
        job_row("denoising, FPI_NN, 160 images of 150 × 150", DENOISING, 5, repeats),
    ]


def job_row(name: str, overrides: list[str], steps: int, repeats: int) -> Row:
    """Means over pairs of processes, of which each has its own luck with its memory; turns of so many steps."""
    given = [*overrides, f"trainer.max_epochs={EPOCHS}"]
    pairs = [take_turns(given, steps) for _ in range(repeats)]
    values = {who: sum(sum(pair[who]) for pair in pairs) / repeats for who in pairs[0]}
    return Row(f"{name}, {EPOCHS} epochs, mean of {repeats}", values, "job", "bare loop")


def start_rows(repeats: int) -> list[Row]:
    """From nothing to the first training step."""
    bibtex = "paper" if data.is_available("bibtex") else "sample"
    child = str(Path(__file__).with_name("startup.py"))
    best: dict[str, float] = {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "stages.json")
            given = [
                *BIBTEX,
                f"profile={bibtex}",
                "trainer.max_epochs=1",
                f"results_dir={folder}",
                "logger.mode=offline",
            ]
            command = [sys.executable, child, str(time.time()), str(out), *given]
            subprocess.run(command, cwd=store.ROOT, check=True, stdout=subprocess.DEVNULL)
            stages: dict[str, float] = json.loads(out.read_text())
        total = sum(stages.values())
        if total < best.get("total", float("inf")):
            best = {"total": total, BOUND: 8.0, **stages}
    return [Row(f"start to first step, Bibtex ({bibtex}), W&B offline", best, "total", BOUND)]


def report_rows(repeats: int) -> tuple[list[Row], str | None]:
    """The report of RUNS runs and its page; and what was left out."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        if not copy_runs(store.ROOT / "results", results, RUNS):
            return [], "report: there are no runs in results/"

        def build() -> float:
            started = time.perf_counter()
            command = [sys.executable, "scripts/report.py", "all", f"results_dir={results}"]
            subprocess.run(command, cwd=store.ROOT, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - started

        build()  # the figures
        again = min(build() for _ in range(repeats))
        more = next(results.glob("*/*/*/seed*"))
        shutil.copytree(more, more.with_name("seed9999"))
        one_more = build()
        for stamp in results.glob("*/*/figures.json"):
            stamp.unlink()
        values = {"unchanged": again, "one run more": one_more, "all figures drawn": build(), BOUND: 10.0}
        rows = [Row(f"report of {RUNS} runs", values, name, BOUND) for name in values if name != BOUND]
        page = max(results.glob("*/index.html"), key=lambda path: path.stat().st_size)
        opened, missing = open_page(page)
        if opened is not None:
            values = {"open": opened, BOUND: 2.0}
            rows.append(Row(f"page of {page.stat().st_size / 1e6:.1f} MB in Chromium", values, "open", BOUND))
        return rows, missing


def copy_runs(source: Path, target: Path, count: int) -> int:
    """Copy finished jobs of `source`, without checkpoints, then again as further seeds, until there are `count`.

    Low seeds come first, so that no task, row or figure is missing where there are more jobs.
    """
    found = [path.parent for path in source.glob("*/*/*/seed*/run.json") if path.parts[-5] != "smoke"]
    jobs = sorted((job for job in found if job.name[4:].isdigit()), key=lambda job: (int(job.name[4:]), job))
    copied = 0
    for seed in counting():
        for job in jobs:
            if copied == count:
                return copied
            place = target / job.relative_to(source)
            place = place.with_name(job.name if seed == 0 else f"seed{1000 * seed + int(job.name[4:])}")
            shutil.copytree(job, place, ignore=shutil.ignore_patterns("*.ckpt", "wandb"))
            copied += 1
        if not jobs:
            return 0
    raise AssertionError("unreachable")


def open_page(page: Path) -> tuple[float | None, str | None]:
    """(seconds until the page has loaded in headless Chromium, why not)."""
    if importlib.util.find_spec("playwright") is None:
        return None, "page: the extra `browser` is not installed"
    from playwright import sync_api

    with sync_api.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=os.environ.get("FPI_CHROMIUM"), args=["--no-sandbox"])
        except sync_api.Error as error:
            return None, f"page: no Chromium, {str(error).splitlines()[0]}"
        tab = browser.new_page()
        tab.goto(page.as_uri())
        timing = "performance.timing.loadEventEnd - performance.timing.navigationStart"
        seconds = tab.evaluate(timing) / 1000
        browser.close()
    return seconds, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=2)
    parts: dict[str, Callable[[int], Any]] = {"job": job_rows, "start": start_rows, "report": report_rows}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="measure these alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    rows: list[Row] = []
    skipped: list[str] = []
    for part in options.parts:
        found = parts[part](options.repeats)
        if part == "report":
            found, missing = found
            skipped += [missing] if missing else []
        rows += found
    write("suite", rows, options.json, 1, time.perf_counter() - started, {"skipped": skipped})


if __name__ == "__main__":
    main()
