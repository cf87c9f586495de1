"""The sweeps of a task: its table or figures, and the further seeds and rows that are run beside them."""

from __future__ import annotations

from typing import Any

import yaml

from tasks.engine import store


def sweeps(task: str, profile: str, overrides: dict[str, str], more: bool = False) -> list[str]:
    """Names in configs/reproduce: <task>, then <task>_* (further seeds, rows) unless jobs were chosen or on samples.

    `more`: the further ones on samples, too.
    """
    chosen = "seed" in overrides or "experiment" in overrides or (profile in ("sample", "smoke") and not more)
    return [task] if chosen else [task, *further(task)]


def further(task: str) -> list[str]:
    return sorted(path.stem for path in (store.ROOT / "configs" / "reproduce").glob(f"{task}_*.yaml"))


def further_rows(task: str) -> list[str]:
    """The experiments of the further sweeps that the task's own sweep lacks."""
    names = further(task)
    return sorted({row for name in names for row in _experiments(name)} - set(_experiments(task))) if names else []


def command(task: str, summary: dict[str, Any]) -> str:
    """The command that makes a record, from its summary.json."""
    given = [f"make reproduce-{task}", f"PROFILE={summary['profile']}"]
    rows = {f"experiment={row}" for row in further_rows(task)}
    left_out = rows and len(sweeps(task, summary["profile"], {})) == 1
    if left_out and any(rows.intersection(cell["command"].split()) for cell in summary["cells"]):
        given.append("ARGS=more=true")
    return " ".join(given)


def _experiments(sweep: str) -> list[str]:
    content = yaml.safe_load((store.ROOT / "configs" / "reproduce" / f"{sweep}.yaml").read_text(encoding="utf-8"))
    return [name.strip() for name in content["hydra"]["sweeper"]["params"]["experiment"].split(",")]
