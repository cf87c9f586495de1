"""The papers' numbers: results/paper.yaml, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.engine.store import ROOT

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where there is one, takes a tenth of the time
PAPER = ROOT / "results" / "paper.yaml"


@dataclass(frozen=True)
class PaperRow:
    """A row of a table: the paper's number (None: it has none), and by how much ours may differ, and why."""

    row: str
    label: str
    paper: float | None = None
    tolerance: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Item:
    """A table or figure. `metric` names the run's metric that is compared; `also` others that are shown beside it."""

    item: str
    title: str
    metric: str
    unit: str
    higher_is_better: bool
    rows: tuple[PaperRow, ...]
    also: tuple[str, ...] = ()


class PaperError(ValueError):
    """results/paper.yaml is malformed; the message names the place and what was expected."""


@cache
def items(task: str, path: Path = PAPER) -> tuple[Item, ...]:
    """The tables and figures of a task, () if the file has none. Raises PaperError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), LOADER) or {}
    except (OSError, yaml.YAMLError) as error:
        raise PaperError(f"cannot read {path}: {error}") from error
    entries = (content.get(task) or {}).get("items") or {}
    return tuple(_item(path, task, name, entry) for name, entry in entries.items())


def _item(path: Path, task: str, name: str, entry: dict[str, Any]) -> Item:
    place = f"{path}: {task}.items.{name}"
    try:
        rows = []
        defaults = {"tolerance": entry.get("tolerance"), "reason": entry.get("reason", "")}
        for row, content in entry["rows"].items():
            parsed = PaperRow(row, **(defaults | content))
            if parsed.paper is not None and (parsed.tolerance is None or parsed.tolerance <= 0 or not parsed.reason):
                raise PaperError(f"{place}.rows.{row}: a paper's number needs a tolerance above 0 and its reason")
            rows.append(parsed)
        return Item(
            name,
            entry["title"],
            entry["metric"],
            entry["unit"],
            bool(entry["higher_is_better"]),
            tuple(rows),
            tuple(entry.get("also", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PaperError(
            f"{place}: expected title, metric, unit, higher_is_better and rows: {{row: {{label, paper}}}} ({error})"
        ) from error


def numbers(task: str, row: str, stand_in: bool) -> dict[str, float]:
    """{"paper/<metric>": the paper's number} of a row; {} if there is none or the data stand in for the paper's."""
    entries = [(item.metric, entry) for item in items(task) for entry in item.rows if entry.row == row and not stand_in]
    return {f"paper/{metric}": entry.paper for metric, entry in entries if entry.paper is not None}
