"""Checks of this machine: what is installed, what can be written, which data are here, what can run and how long."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from tasks.engine import console, data, manifest, profiles, store, tracking
from tasks.engine.cli import Script, task_names
from tasks.engine.environment import hardware
from tasks.engine.estimate import Estimates, human
from tasks.engine.profiles import by_hand, data_needed, gpu_needed, readme

SCRIPT = Script(
    "doctor.py",
    "Check this machine and say what can run on it.",
    {"results_dir": ("results", "where jobs would go, relative to the repository")},
)
ENOUGH_DISK = 5e9  # bytes: every task at profile=paper with its checkpoints, data not counted
STYLES = {"ok": "green", "note": "yellow", "error": "red"}


@dataclass(frozen=True)
class Finding:
    """One line: `error` keeps jobs from running, `note` limits what can run."""

    state: Literal["ok", "note", "error"]
    subject: str
    text: str


def main(arguments: Sequence[str]) -> int:
    """`[results_dir=results]`: print the findings and what can run; status 1 if there is an error."""
    given = SCRIPT.defaults | SCRIPT.parse(arguments)[1]
    results = store.results_root(given["results_dir"])
    findings = [*_software(), *_machine(), *_results(results), *_data(), *_tracking()]
    for finding in findings:
        console.say(f"{finding.state:5} {finding.subject:10} {finding.text}", style=STYLES[finding.state])
    console.say("")
    console.table(["task", "profile", "can run here", "expected time of all jobs"], [*_what_runs(results)])
    console.say(
        "Each job of a task with its time: python scripts/reproduce.py TASK profile=PROFILE --dry-run", style="dim"
    )
    return int(any(finding.state == "error" for finding in findings))


def _software() -> Iterator[Finding]:
    version = platform.python_version_tuple()[:2]
    supported = ("3", "11") <= version <= ("3", "13")
    yield Finding("ok" if supported else "error", "python", f"{platform.python_version()} (3.11 to 3.13 are supported)")
    for package in ("torch", "lightning", "hydra-core", "wandb"):
        try:
            yield Finding("ok", package, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding("error", package, "not installed: run `make setup`")
    yield _layer()


def _layer() -> Finding:
    """A layer solves and differentiates: the shortest proof that torch and the core work together."""
    try:
        import torch

        import fpi

        layer = fpi.FPILayer(torch.nn.Bilinear(1, 1, 1), solver=fpi.Picard(on_failure="ignore"))
        layer(torch.ones(1, 1), x0=torch.zeros(1, 1)).sum().backward()
    except Exception as error:  # whatever a broken installation raises
        return Finding("error", "fpi", f"a layer cannot be solved: {type(error).__name__}: {error}")
    return Finding("ok", "fpi", "a layer is solved and differentiated")


def _machine() -> Iterator[Finding]:
    yield Finding("ok", "cpu", hardware())
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Finding("ok" if memory > 4e9 else "note", "memory", f"{memory / 1e9:.0f} GB (a job takes about 1 GB)")
    import torch

    if not torch.cuda.is_available():
        yield Finding("note", "cuda", f"no device (torch built for {torch.version.cuda or 'the CPU only'})")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding("ok", "cuda", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB")


def _results(results: Path) -> Iterator[Finding]:
    place = next(path for path in (results, *results.parents) if path.exists())
    probe = place / f".doctor.{os.getpid()}"
    try:
        probe.mkdir()
        with store.exclusive(probe) as free:
            yield Finding("ok" if free else "error", "results", f"{results} can be written and locked")
    except OSError as error:
        yield Finding("error", "results", f"{results} cannot be written ({error.strerror}): choose results_dir=")
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    free_bytes = shutil.disk_usage(place).free
    state: Literal["ok", "note"] = "ok" if free_bytes > ENOUGH_DISK else "note"
    yield Finding(state, "disk", f"{free_bytes / 1e9:.0f} GB free there (all tasks: up to {ENOUGH_DISK / 1e9:.0f} GB)")


def _data() -> Iterator[Finding]:
    for name, dataset in manifest.load_manifest().items():
        try:
            yield Finding("ok", "data", f"{name}: in {data.locate(name)}")
        except data.DataNotFoundError:
            size = "" if dataset.size is None else f", {human_bytes(dataset.size)}"
            how = f"`make data-{name}` downloads it{size}" if dataset.downloadable else f"by hand ({dataset.terms})"
            yield Finding("note", "data", f"{name}: not here; {how}")


def human_bytes(count: int) -> str:
    """Bytes in kB or MB."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _tracking() -> Iterator[Finding]:
    mode, reason = tracking.decide("auto")
    yield Finding("ok" if mode == "online" else "note", "W&B", f"{mode} ({reason}); `wandb login` for online runs")


def _what_runs(results: Path) -> Iterator[list[str]]:
    """A line a task and profile: yes or what is missing, and the time of its published or local jobs."""
    for task in task_names():
        needed = data_needed(task)
        for profile in profiles.of(task):
            total = Estimates(task, profile, results).total()
            time = "not measured" if total is None else f"{human(total.seconds)} ({total.basis}, {total.hardware})"
            yield [task, profile, _can_run(task, profile, needed), "seconds to minutes" if profile == "smoke" else time]


def _can_run(task: str, profile: str, needed: dict[str, str]) -> str:
    import torch

    if profile in needed and not data.is_available(needed[profile]):
        return f"needs the data '{needed[profile]}'"
    if by_hand(task) and profile not in ("smoke", "sample", "shapes"):
        return f"with the data got by hand: {readme(task)}"
    if gpu_needed(task) and profile not in ("smoke", "sample") and not torch.cuda.is_available():
        return "yes, but it takes hours without a GPU"
    return "yes"
