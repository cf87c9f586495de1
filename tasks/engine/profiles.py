"""The profiles of a task: which there are, and what data and machine they need, as its configs say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from tasks.engine import data, manifest
from tasks.engine.errors import ConfigError, choices
from tasks.engine.store import ROOT

CONFIGS = ROOT / "configs"


def names() -> list[str]:
    """The profiles of all tasks."""
    return sorted(path.stem for path in (CONFIGS / "profile").glob("*.yaml"))


def of(task: str) -> list[str]:
    """The profiles of a task: those it has data for, if it configures its data by profile, or else smoke, sample,
    paper and those it configures or needs data for."""
    configured = sorted((CONFIGS / "profile" / "task").glob(f"{task}_*.yaml"))
    own = [path.stem.removeprefix(f"{task}_") for path in configured]
    usual = dict.fromkeys(["smoke", "sample", *own, *_data_needed(task), "paper"])
    there = {path.stem for path in (CONFIGS / "data").glob("*.yaml")}
    stem = task.replace("-", "_")
    if f"{stem}_sample" not in there:  # the same data for all
        return list(usual)
    return [profile for profile in dict.fromkeys([*usual, *names()]) if f"{stem}_{profile}" in there]


def check(profile: str, task: str | None = None) -> str:
    """The profile. Raises ConfigError if the task, or without one every task, has no such profile."""
    there = names() if task is None else of(task)
    if profile not in there:
        whose = "there is" if task is None else f"{task} has"
        raise ConfigError(f"profile={profile}: {whose} no such profile.{choices(profile, there)}")
    return profile


def data_needed(task: str) -> dict[str, str]:
    """{profile: data set of data/manifest.yaml that it needs}, best profile first, {} if the data are generated.

    task.data_needed names one data set, of profile=paper, or one a profile; by default one of the task's name. A list
    names data sets of the same content: the first that is here counts, or else the last, which can be fetched.
    """
    needed = _data_needed(task)
    return {profile: name if isinstance(name, str) else _first_here(name) for profile, name in needed.items()}


def by_hand(task: str) -> bool:
    """Whether the paper's data are no entry of the manifest that could be fetched: task.data_needed is null."""
    content = _task_config(task)
    return "data_needed" in content and content["data_needed"] is None


def readme(task: str) -> str:
    return f"tasks/{task.partition('-')[0]}/README.md"


def gpu_needed(task: str) -> bool:
    return bool(_task_config(task).get("gpu_needed", False))


def _data_needed(task: str) -> dict[str, str | list[str]]:
    default = task if task in manifest.load_manifest() else None
    needed = _task_config(task).get("data_needed", default)
    return needed if isinstance(needed, dict) else {} if needed is None else {"paper": needed}


def _first_here(same: Sequence[str]) -> str:
    return next((name for name in same if data.is_available(name)), same[-1])


def _task_config(task: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONFIGS / "task" / f"{task}.yaml").read_text(encoding="utf-8")) or {}
    found: dict[str, Any] = content.get("task", content)
    return found
