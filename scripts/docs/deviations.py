"""The numbered deviations of all tasks in one list, written into a page at build time from tasks/*/README.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

MARKER = "<!-- deviations -->"
HEADING = re.compile(r"^## (Deviations[^\n]*)\n", re.MULTILINE)
ITEM = re.compile(r"^- \*\*(?P<name>D\d+)\*\* (?P<text>.*?)(?=^- \*\*D\d|\Z)", re.MULTILINE | re.DOTALL)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    if MARKER in source[0]:
        base = "../" * docname.count("/")
        source[0] = source[0].replace(MARKER, deviations(Path(app.srcdir) / "tasks", base))


def deviations(tasks: Path, base: str) -> str:
    """Markdown: a section a task with the first sentence of each of its deviations. `base`: way to the root."""
    parts = []
    for path in sorted(tasks.glob("*/README.md")):
        text = path.read_text(encoding="utf-8")
        if heading := HEADING.search(text):
            section = text[heading.end() :].partition("\n## ")[0]
            anchor = heading[1].strip().lower().replace(" ", "-")
            link = f"In full: [{heading[1].lower()}]({base}tasks/{path.parent.name}/README.md#{anchor})"
            folder = f"{base}tasks/{path.parent.name}/"
            lines = [f"- **{m['name']}** {_first(m['text'], folder)}" for m in ITEM.finditer(section)]
            parts += [f"## {text.partition(chr(10))[0].removeprefix('# ')}", link, "\n".join(lines)]
    return "\n\n".join(parts)


def _first(text: str, folder: str) -> str:
    """The first sentence as one line; its links, which are relative to the README in `folder`, still lead there."""
    line = " ".join(text.split()).replace("](#", "](README.md#").replace("](", f"]({folder}")
    return re.split(r"(?<=[.:])\s(?=[A-Z`])", line, maxsplit=1)[0].rstrip(":")
