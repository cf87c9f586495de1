"""A table or figure in one go: choose the profile, run every job as a Hydra multirun, build the report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.engine import console, data, fetch, manifest, profiles, report, store, tracking
from tasks.engine.cli import Script, as_bool, groups, task_names
from tasks.engine.errors import ConfigError
from tasks.engine.launch import name_launch
from tasks.engine.profiles import by_hand, data_needed, gpu_needed, readme
from tasks.engine.sweeps import further_rows, sweeps

SCRIPT = Script(
    "reproduce.py",
    "Reproduce a task's tables and figures: choose the profile, run every job, build the report.",
    {
        "profile": ("", "sizes and data; without it: the paper's if its data are here or can be fetched, else sample"),
        "results_dir": ("results", "where jobs and report go, relative to the repository"),
        "dry_run": ("false", "print the jobs with their expected times, start none"),
        "more": ("false", "on samples, too, the rows that a task's own sweep leaves out"),
    },
    words="TASK|all",
    more="any key of scripts/train.py",
)
LARGE = 10**9  # bytes: a download that is not started without being asked for


def main(arguments: Sequence[str]) -> int:
    """`TASK [profile=...] [--dry-run] [overrides of scripts/train.py]`; the status is 0 only if every job succeeded.

    `all` stands for every task, and a package's name for its own (`groups`), one after the other. A dry run prints the
    jobs with their expected times and starts none. `more=true` runs the further sweeps of a task on samples, too.
    """
    task, overrides = SCRIPT.parse_task(arguments)
    several = task_names() if task == "all" else groups().get(task)
    if several:
        return max([_one_of(several, one, arguments[1:]) for one in several])
    if "row" in overrides and "experiment" not in overrides:
        example = f"experiment={task}/{overrides['row']}"
        raise ConfigError(f"row={overrides['row']} would name every job of the sweep so: rows are chosen by {example}.")
    dry_run = as_bool("dry_run", overrides.pop("dry_run", "false"))
    more = as_bool("more", overrides.pop("more", "false"))
    profile, reason = choose_profile(task, overrides.pop("profile", None), download=not dry_run)
    console.say(f"profile={profile}: {reason}", style="bold")
    results = store.results_root(overrides.get("results_dir", "results"))
    commands = []
    for name in sweeps(task, profile, overrides, more):
        command = [f"reproduce={name}", f"profile={profile}", *_smoke(profile, overrides)]
        commands.append(command + [f"{key}={value}" for key, value in overrides.items()])
    if dry_run:
        status = _dry_run(commands, results)
    else:
        check_data(task, profile)
        if "logger" not in overrides and "logger.mode" not in overrides and profile != "smoke":
            tracking.announce(*tracking.decide("auto"))
        status = _run(task, profile, commands, results)
    if profile == "sample" and not more and further_rows(task) and not {"seed", "experiment"} & set(overrides):
        console.say(f"further rows: make reproduce-{task} PROFILE={profile} ARGS=more=true")
    return status


def _run(task: str, profile: str, commands: list[list[str]], results: Path) -> int:
    """Run the sweeps, then report what there is; 0 if no job failed."""
    status = 0
    name_launch()  # of all its sweeps
    for command in commands:
        console.say("$ python scripts/train.py " + " ".join(command), style="dim")
        status |= subprocess.run([sys.executable, "scripts/train.py", *command], cwd=store.ROOT, check=False).returncode
    runs, failed = store.load_runs(results, profile, task)
    if not runs and not failed:
        console.error(f"no job of {task} ran; the messages above say why")
        return 1
    report.build(task, profile, results)
    console.say(f"{len(runs)} jobs done, {len(failed)} failed: {results / profile / 'index.html'}")
    return int(status != 0 or bool(failed))


def _one_of(several: Sequence[str], task: str, given: Sequence[str]) -> int:
    """The status of one task of several: what keeps it from starting does not keep the others."""
    console.say(f"{task} ({several.index(task) + 1} of {len(several)})", style="bold")
    try:
        return main([task, *given])
    except ConfigError as error:
        console.error(str(error))
        return 1


def _dry_run(commands: list[list[str]], results: Path) -> int:
    from tasks.engine import plan  # here: it composes configs, which a launch leaves to its jobs

    found: list[plan.Job] = []
    at_a_time = 1
    for command in commands:
        jobs, at_a_time = plan.jobs(command, results)
        found += jobs
    plan.show(found, at_a_time)
    return 0


def choose_profile(task: str, asked: str | None, download: bool = True) -> tuple[str, str]:
    """(profile, why): what was asked for; else the first whose data are here or can be fetched; else `sample`.

    Without ``download`` nothing is fetched, and data that could be count as fetched, which the reason says.

    A download of unknown size or of more than LARGE bytes is left to the user. Where profiles need a GPU
    (task.gpu_needed) and there is none, nothing is fetched, and `sample` is taken.
    """
    if asked is not None:
        return profiles.check(asked, task), "as asked"
    needed = data_needed(task)
    if by_hand(task):
        return "sample", f"SAMPLE DATA, not the paper's, which must be got by hand: {readme(task)}, profile=paper"
    if not needed:
        return "paper", f"{task} generates its data, no download is needed"
    causes, found = [], []
    for profile, name in needed.items():
        try:
            found.append((profile, f"the data are in {data.locate(name)}"))
        except data.DataNotFoundError:
            continue  # said below: the first line printed is the profile and its reason
    if gpu_needed(task) and not _has_gpu():
        profile, here = found[0] if found else (next(iter(needed)), "the data could be got")
        causes = [f"profile={profile} takes hours without a GPU, though {here} (PROFILE={profile} runs it)"]
    elif found:
        return found[0]
    else:
        for profile, name in needed.items():
            dataset = manifest.load_manifest()[name]
            if not dataset.downloadable or dataset.size is None or dataset.size > LARGE:
                how = f"a large download: `make data-{name}`" if dataset.downloadable else dataset.terms
                causes.append(f"{name} is not here ({how})")
                continue
            try:
                if not download:
                    return profile, f"if the download of {name} succeeds, as the real run tries; else profile=sample"
                fetch.fetch(name)
                return profile, "the data were downloaded"
            except manifest.DataError as error:
                causes.append(f"{str(error).splitlines()[0]} (set FPI_DATA, or `make data-{name}`)")
    return "sample", f"SAMPLE DATA, not the paper's: {'; '.join(causes)}"


def check_data(task: str, profile: str) -> None:
    """Raises ConfigError if the profile's data are not here: once, instead of by every job."""
    needed = data_needed(task)
    if profile not in needed:
        return
    try:
        data.locate(needed[profile])
    except data.DataNotFoundError as error:
        others = ", ".join(f"profile={name}" for name in [*needed, "sample"] if name != profile)
        raise ConfigError(f"profile={profile} cannot run: {error}\n  Or choose {others}.") from error


def _has_gpu() -> bool:
    import torch  # here: most tasks do not ask

    return torch.cuda.is_available()


def _smoke(profile: str, overrides: dict[str, str]) -> list[str]:
    return ["seed=0"] if profile == "smoke" and "seed" not in overrides else []
