"""Arguments of the scripts that Hydra does not start: a task and key=value pairs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hydra.errors import CompactHydraException

from tasks.engine import console
from tasks.engine.config import experiments
from tasks.engine.errors import ConfigError, describe, hint, out_of_room
from tasks.engine.store import ROOT


def task_names() -> list[str]:
    """The tasks that have a config and experiments."""
    names = sorted(path.stem for path in (ROOT / "configs" / "task").glob("*.yaml"))
    return [name for name in names if experiments(name)]


def groups() -> dict[str, list[str]]:
    """{package: its tasks} of the packages with several tasks of which none has the package's name."""
    names = task_names()
    parts = [name.partition("-")[0] for name in names]
    return {
        part: [name for name in names if name.startswith(f"{part}-")]
        for part in dict.fromkeys(parts)
        if part not in names
    }


def parse_task(arguments: Sequence[str], script: str, also: Sequence[str] = ()) -> tuple[str, dict[str, str]]:
    """(task, {key: value}) of `TASK [key=value ...]`; `also`: words that may stand for the task, as a
    name of `groups` may.

    Raises ConfigError for an unknown task or another form.
    """
    tasks = sorted({*task_names(), *groups()}) + list(also)
    usage = f"usage: python scripts/{script} TASK [key=value ...], with TASK one of {', '.join(tasks)}"
    if not arguments or "=" in arguments[0] or arguments[0].startswith("-"):
        raise ConfigError(usage)
    task, *rest = arguments
    if task not in tasks:
        raise ConfigError(f"unknown task '{task}'; {usage}")
    if wrong := [argument for argument in rest if "=" not in argument]:
        raise ConfigError(f"'{wrong[0]}' is not key=value; {usage}")
    return task, dict(argument.split("=", 1) for argument in rest)


def split_pairs(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(words, {key: value}) of a command line of words and key=value pairs."""
    words = [argument for argument in arguments if "=" not in argument]
    return words, dict(argument.split("=", 1) for argument in arguments if "=" in argument)


def check_profile(profile: str) -> str:
    profiles = sorted(path.stem for path in (ROOT / "configs" / "profile").glob("*.yaml"))
    if profile not in profiles:
        raise ConfigError(f"unknown profile '{profile}': choose profile=NAME, one of {', '.join(profiles)}.")
    return profile


def as_bool(key: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise ConfigError(f"{key}={value} is not valid: expected true or false.")
    return value == "true"


def exit_with(main: Callable[[Sequence[str]], int]) -> None:
    """Run `main` on the command line's arguments; the engine's errors end it with one paragraph and status 1."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # the process that was interrupted has said so
    except (CompactHydraException, ValueError) as error:
        console.error(str(error))
        sys.exit(1)
    except OSError as error:
        console.error(f"{describe(error)}\n  {hint(error)}" if out_of_room(error) else describe(error))
        sys.exit(1)
