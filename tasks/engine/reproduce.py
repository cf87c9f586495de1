"""A table or figure in one go: choose the profile, run every job as a Hydra multirun, build the report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from tasks.engine import console, data, report, store, tracking
from tasks.engine.cli import check_profile, parse_task


def main(arguments: Sequence[str]) -> int:
    """`TASK [profile=...] [overrides of scripts/train.py]`; returns the exit status: 0 only if every job succeeded."""
    task, overrides = parse_task(arguments, "reproduce.py")
    profile, reason = choose_profile(task, overrides.pop("profile", None))
    console.say(f"profile={profile}: {reason}", style="bold")
    if "logger" not in overrides and "logger.mode" not in overrides and profile != "smoke":
        tracking.announce(*tracking.decide("auto"))
    status = 0
    for name in sweeps(task, profile, overrides):
        given = [f"reproduce={name}", f"profile={profile}", *_smoke(profile, overrides)]
        given += [f"{key}={value}" for key, value in overrides.items()]
        console.say("$ python scripts/train.py " + " ".join(given), style="dim")
        status |= subprocess.run([sys.executable, "scripts/train.py", *given], cwd=store.ROOT, check=False).returncode
    results = store.results_root(overrides.get("results_dir", "results"))
    runs, failed = store.load_runs(results, profile, task)
    if not runs and not failed:
        console.error(f"no job of {task} ran; the messages above say why")
        return 1
    report.build(task, profile, results)
    page = results / profile / "README.md"
    console.say(f"{len(runs)} jobs done, {len(failed)} failed: {page}")
    return int(status != 0 or bool(failed))


def choose_profile(task: str, asked: str | None) -> tuple[str, str]:
    """(profile, why): what was asked for; else `paper` if the task's data are here or can be fetched; else `sample`."""
    if asked is not None:
        return check_profile(asked), "as asked"
    needed = data_needed(task)
    if needed is None:
        return "paper", f"{task} generates its data, no download is needed"
    try:
        folder = data.locate(needed)
        return "paper", f"the data are in {folder}"
    except data.DataNotFoundError:
        pass  # said below: the first line printed is the profile and its reason
    try:
        data.fetch(needed)
        return "paper", "the data were downloaded"
    except data.DataError as error:
        cause = str(error).splitlines()[0]
        return "sample", f"GENERATED SAMPLE DATA, not the paper's: {cause} (set FPI_DATA, or `make data-{needed}`)"


def data_needed(task: str) -> str | None:
    """The data set of data/manifest.yaml that profile=paper needs: task.data_needed, else one of the task's name."""
    content: dict[str, Any] = yaml.safe_load((store.ROOT / "configs" / "task" / f"{task}.yaml").read_text()) or {}
    content = content.get("task", content)
    default = task if task in data.load_manifest() else None
    return content.get("data_needed", default)


def sweeps(task: str, profile: str, overrides: dict[str, str]) -> list[str]:
    """Names in configs/reproduce: <task>, then <task>_* (further seeds or rows) unless jobs were chosen or the data are a sample."""
    names = sorted(path.stem for path in (store.ROOT / "configs" / "reproduce").glob(f"{task}_*.yaml"))
    chosen = profile in ("sample", "smoke") or "seed" in overrides or "experiment" in overrides
    return [task] if chosen else [task, *names]


def _smoke(profile: str, overrides: dict[str, str]) -> list[str]:
    return ["seed=0"] if profile == "smoke" and "seed" not in overrides else []
