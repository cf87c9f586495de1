"""Starting Hydra's main so that a wrong command line ends in one paragraph: the key, and the fix."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException, MissingConfigException
from omegaconf import DictConfig

from tasks.engine import console, profiles, ray_launcher
from tasks.engine.cli import task_names
from tasks.engine.config import experiments
from tasks.engine.errors import ConfigError, choices, describe
from tasks.engine.store import ROOT

LAUNCH = "FPI_LAUNCH"  # environment variable with a name for all jobs of one command


def launch(main: Callable[[], Any]) -> None:
    """Run a `@hydra.main` function. Hydra's and the engine's errors are printed without a traceback and exit with 1.

    With HYDRA_FULL_ERROR=1 in the environment they are raised instead. `--help` lists tasks, rows and profiles.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        from tasks.engine import help  # here: a job needs none of it

        print(help.text())
        return
    if {"--shell-completion", "-sc"} & set(sys.argv[1:]):
        from tasks.engine import help

        help.complete_rows()
    ray_launcher.register()
    name_launch()
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them
    JobReturn.return_value = property(_result, JobReturn.return_value.fset)  # type: ignore[assignment, attr-defined]
    try:
        _check_form(sys.argv[1:])
        _check_profiles(sys.argv[1:])
        main()
    except CompactHydraException as error:
        console.error(explain(error))
        sys.exit(1)
    except OSError as error:  # a job's own are its failure, or a ConfigError
        console.error(
            f"{describe(error)}. What Hydra writes of a sweep goes to hydra.sweep.dir=DIR, jobs to results_dir=."
        )
        sys.exit(1)
    except KeyboardInterrupt:
        console.error("interrupted; the same command goes on from the last checkpoints.")
        sys.exit(130)
    except Exception as error:
        if type(error).__name__ != "TerminatedWorkerError":  # joblib's; importing it here would load joblib
            raise
        console.error(
            "a process that ran jobs was killed, most likely for want of memory. Run the same command again with "
            "hydra.launcher.n_jobs=1: finished jobs are skipped, the others go on from their last checkpoints."
        )
        sys.exit(1)


def name_launch() -> None:
    """Give the jobs started from here on a name in common, unless they have one."""
    os.environ.setdefault(LAUNCH, f"{os.getpid()}-{time.time_ns()}")


def _result(job: JobReturn) -> Any:
    """What a job returned, or its error raised: Hydra's own repeats the command line before every error."""
    if job.status == JobStatus.FAILED:
        raise job._return_value
    return job._return_value


def _check_form(arguments: Sequence[str]) -> None:
    """Raises ConfigError for what is neither key=value nor an option: Hydra answers with a wall of text, or guesses.

    MissingConfigException for a number where the name of a file of configs/ belongs: Hydra answers with a traceback.
    """
    groups = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir()}
    keys = groups | {"seed", "row", "protocol"}
    for i, argument in enumerate(arguments):
        key, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("--") and key in keys:
            value = value or next(iter(arguments[i + 1 :]), "NAME")
            raise ConfigError(f"{argument} is not an option: settings are written without dashes, {key}={value}.")
        if argument in experiments():
            raise ConfigError(f"'{argument}' is not key=value. Did you mean experiment={argument}?")
        if argument == f"{key}={value}" and key in groups and re.fullmatch(r"[-+\d.]+(e[-+]?\d+)?|true|false", value):
            raise MissingConfigException("", f"{key}/{value}")


def _check_profiles(arguments: Sequence[str]) -> None:
    """Raises ConfigError if a task has not the profile: Hydra would miss a file of configs/data, or train something."""
    if any(argument.startswith(("--config-dir", "-cd", "hydra.searchpath=")) for argument in arguments):
        return  # there are further configs
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    rows, sweeps = (given.get(key, "").split(",") for key in ("experiment", "reproduce"))
    for task in task_names():
        if any(row.startswith(f"{task}/") for row in rows) or any(f"{name}_".startswith(f"{task}_") for name in sweeps):
            for profile in given.get("profile", "sample").split(","):
                if re.fullmatch(r"[\w.-]+", profile):  # and no function of Hydra's grammar
                    profiles.check(profile, task)


def explain(error: CompactHydraException) -> str:
    """The error as one paragraph that names the key or option, what there is instead, and the fix."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.partition("/")
        folder = ROOT / "configs" / group
        there = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
        there = [name for name in there if not f"{group}/{name}".startswith("profile/task/")]  # the engine's own choice
        return f"{group}={option}: there is no such {group}.{choices(option, there, _beside(option, there))}"
    if match := re.match(r"Error parsing override '([^']+)'\s+missing EQUAL", str(error)):
        return f"'{match[1]}' is not key=value. `--help` lists tasks, rows and profiles, `--cfg job` every key."
    if match := re.match(r"Could not override '([^']+)'", str(error)):
        key = match[1]
        node = getattr(error.__cause__, "parent_node", None)
        siblings = [str(name) for name in node] if isinstance(node, DictConfig) else []
        return (
            f"unknown key {key}.{choices(key.rpartition('.')[2], siblings)} `--cfg job` prints the whole config; "
            f"to add a key that is not there, write +{key}=VALUE."
        )
    return str(error)


def _beside(option: str, there: Sequence[str]) -> list[str]:
    """The names in an option's folder (bibtex/fpi_n: those in bibtex), or else the folders and names at the top."""
    folder = option.partition("/")[0] + "/"
    inside = [name for name in there if name.startswith(folder)]
    return inside or list(dict.fromkeys(name if "/" not in name else name.partition("/")[0] + "/..." for name in there))
