"""Uploads what W&B could not take while the jobs ran: offline runs, and online runs cut short, in start order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.engine import console, store, tracking
from tasks.engine.cli import Script, as_bool
from tasks.engine.errors import ConfigError

SCRIPT = Script(
    "sync.py",
    "Upload offline W&B runs, and online ones that were cut short, in start order.",
    {
        "results_dir": ("results", "where the jobs are, relative to the repository"),
        "dry_run": ("false", "print the runs, upload none"),
    },
)
RUNS = "*/*/*/*/wandb/*run-*"  # <profile>/<task>/<row>/seed<k>/wandb/[offline-]run-<time>-<id>


def main(arguments: Sequence[str]) -> int:
    """Upload every run of the results folder that is not uploaded yet; status 1 if one was refused.

    A job that was interrupted has several runs of one id: the first creates it, the others are appended in their order,
    and none is uploaded after one of them was refused.
    """
    given = SCRIPT.defaults | SCRIPT.parse(arguments)[1]
    results = store.results_root(given["results_dir"])
    dry = as_bool("dry_run", given["dry_run"])
    runs = pending(results)
    if runs and not dry and not tracking.logged_in():
        raise ConfigError("uploading needs a W&B login: run `wandb login` or set WANDB_API_KEY.")
    if runs and not dry and not tracking.reachable():
        raise ConfigError(f"{tracking.server()} does not answer: run this again when it can be reached.")
    begun = {run_id(path) for path in results.glob(RUNS) if is_synced(path)}
    refused: set[str] = set()
    for path in runs:
        append = run_id(path) in begun
        begun.add(run_id(path))
        if run_id(path) in refused:
            continue
        console.say(f"{'append' if append else 'upload'} {path.relative_to(results)}")
        if not dry and not upload(path, append):
            console.warn(f"{path.relative_to(results)} was not taken; the others go on")
            refused.add(run_id(path))
    left = sum(run_id(path) in refused for path in runs)
    console.say(f"{len(runs) - left} runs {'to upload' if dry else 'uploaded'}" + (f", {left} left" if left else ""))
    return int(bool(refused))


def pending(results: Path) -> list[Path]:
    """Directories of runs that are not on the server, in start order; without those of jobs that are running now."""
    found = []
    for job in sorted({path.parent.parent for path in results.glob(RUNS)}):
        cut_short = (job / "wandb" / tracking.UNFINISHED).exists()
        kinds = ("offline-run-*", "run-*") if cut_short else ("offline-run-*",)
        runs = [path for kind in kinds for path in (job / "wandb").glob(kind) if path.is_dir() and not is_synced(path)]
        with store.exclusive(job) as finished:
            if runs and not finished:
                console.warn(f"{job.relative_to(results)} is running: its W&B run is left for later")
            found += runs if finished else []
    return sorted(found, key=lambda path: path.name.removeprefix("offline-"))  # their names begin with the start time


def upload(path: Path, append: bool) -> bool:
    """`wandb sync` of one run; whether the server took it. W&B marks it then, so that it is not uploaded again."""
    given = ["--legacy", *(["--append"] if append else [])]  # it alone appends, ends, and marks what was taken
    if not path.name.startswith("offline-"):
        given.append("--include-online")
    command = [sys.executable, "-m", "wandb", "sync", *given, str(path)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=path)
    if not is_synced(path):
        console.say(done.stdout.strip()[-500:], style="dim")
    return is_synced(path)


def run_id(path: Path) -> str:
    return path.name.rpartition("-")[2]


def is_synced(path: Path) -> bool:
    """Whether W&B's own mark of an uploaded run is there."""
    return (path / f"run-{run_id(path)}.wandb.synced").exists()
