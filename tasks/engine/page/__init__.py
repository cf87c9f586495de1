"""One static HTML page of a results folder: no server, no network, everything inside one file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tasks.engine import paper, store
from tasks.engine.page import content
from tasks.engine.page.content import Source

ASSETS = Path(__file__).parent / "assets"


def sources(folder: Path, jobs: bool = True) -> list[Source]:
    """Every record <folder>/<name>/summary.json. `folder` is results/<profile>, where the name is the task's.

    With `jobs=False` the jobs' own files are not read (results/published has none).
    """
    found = []
    for path in sorted(folder.glob("*/summary.json")):
        summary = store.read_json(path)
        if summary is not None:
            runs, failed = store.load_runs(folder.parent, folder.name, path.parent.name) if jobs else ([], [])
            found.append(Source(summary, path.parent, paper.items(summary["task"]), runs, failed))
    return found


def write(folder: Path, tasks: list[Source]) -> Path:
    """Write <folder>/index.html and return its path."""
    sections = [content.section(task) for task in tasks]
    verdicts = list(dict.fromkeys(verdict for section in sections for verdict, _ in section["counts"]))
    target = folder / "index.html"
    title = f"fpi: results, {folder.name}"
    store.atomic_write(target, render("report.html.j2", title=title, tasks=sections, verdicts=verdicts))
    return target


def render(template: str, **values: Any) -> str:
    """A template of assets/ with its style and script inlined."""
    return _environment().get_template(template).render(**values, style=_asset("page.css"), script=_asset("page.js"))


def as_json(value: Any) -> Markup:
    """JSON that may stand in a <script> element: no `<` can end it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["as_json"] = as_json
    environment.filters["slug"] = lambda text: "".join(c if c.isalnum() else "-" for c in text).strip("-") or "none"
    return environment


def _asset(name: str) -> Markup:
    return Markup((ASSETS / name).read_text(encoding="utf-8"))
