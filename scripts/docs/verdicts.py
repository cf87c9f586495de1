"""What reproduced and what did not, written into a page at build time from results/published/*/summary.json."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx

from tasks.engine import paper, store

MARKER = "<!-- verdicts -->"
PROTOCOLS = {"none": "", "paper": ", paper's protocol", "honest": ", honest protocol"}
CELLS = ("better", "matches", "falls short", "inconclusive")
CLAIMS = ("holds", "contradicted", "inconclusive")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the marker in a page by the verdicts of the published record; name the task in a record's heading."""
    root = Path(app.srcdir)
    tasks = task_configs(root)
    if MARKER in source[0]:
        base = "../" * docname.count("/")
        source[0] = source[0].replace(MARKER, verdicts(root / "results" / "published", tasks, base))
    name = Path(docname).parent.name
    summary = store.read_json(root / "results" / "published" / name / "summary.json")
    if docname == f"results/published/{name}/README" and summary is not None:
        title = _title(tasks[summary["task"]], summary)
        source[0] = source[0].replace("# Published results\n", f"# {title}: published results\n", 1)


def task_configs(root: Path) -> dict[str, dict[str, Any]]:
    """{task: its entry in configs/task}."""
    files = sorted((root / "configs" / "task").glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["task"] for path in files}


def verdicts(published: Path, tasks: dict[str, dict[str, Any]], base: str) -> str:
    """Markdown: an overview of all tasks, then for each its cells and claims by verdict. `base`: way to the root."""
    records = [summary for path in sorted(published.glob("*/summary.json")) if (summary := store.read_json(path))]
    lines = ["| task | data | numbers of the paper | claims of the paper |", "|---|---|---|---|"]
    for task, content in tasks.items():
        readme = f"tasks/{task.partition('-')[0]}/README.md"
        there = (published.parents[1] / readme).is_file()
        name = f"[{content['title']}]({base}{readme})" if there else content["title"]
        found = [summary for summary in records if summary["task"] == task]
        if not found:
            lines.append(f"| {name} | – | **nothing published yet** | **nothing published yet** |")
        for summary in found:
            cells, data = _compared(summary), sorted({entry["data"] for entry in summary["cells"] + summary["claims"]})
            numbers = _count(cells, CELLS) if cells else "none compared"
            lines.append(f"| {name} | {'; '.join(data)} | {numbers} | {_count(summary['claims'], CLAIMS)} |")
    sections = [_section(tasks[task], s, base) for task in tasks for s in records if s["task"] == task]
    return "\n".join([*lines, "", *sections])


def _title(content: dict[str, Any], summary: dict[str, Any]) -> str:
    main = store.record(summary["task"], summary["profile"]) == summary["task"]
    return str(content["title"]) if main else f"{content['title']}, profile {summary['profile']}"


def _section(content: dict[str, Any], summary: dict[str, Any], base: str) -> str:
    task = summary["task"]
    name = store.record(task, summary["profile"])
    record = f"[per-seed values, figures and commands]({base}results/published/{name}/README.md)"
    lines = [f"## {_title(content, summary)}", "", f"Profile `{summary['profile']}`, {summary['date']}: {record}.", ""]
    cells = _compared(summary)
    labels = {(item.item, row.row): row.label for item in paper.items(task) for row in item.rows}
    if cells:
        lines += ["| verdict | row | paper | ours |", "|---|---|---|---|"]
    for cell in sorted(cells, key=lambda cell: CELLS.index(cell["verdict"])):
        ours = f"{_number(cell['mean'])}{_spread(cell['ci95'])} {cell['unit']} (n={cell['n']})"
        row = f"{labels[cell['item'], cell['row']]}{PROTOCOLS[cell['protocol']]}"
        lines.append(f"| **{cell['verdict']}** | {row} | {cell['paper']:g} | {ours} |")
    if any(cell["paper"] is not None and cell["verdict"] is None for cell in summary["cells"]):
        lines += ["", "Rows on stand-in data are not compared with the paper's numbers."]
    if summary["claims"]:
        lines += ["", "| verdict | claim | difference |", "|---|---|---|"]
    for claim in sorted(summary["claims"], key=lambda claim: CLAIMS.index(claim["verdict"])):
        difference = f"{_number(claim['difference'])}{_spread(claim['ci95'])} (n={claim['n']})"
        lines.append(f"| **{claim['verdict']}** | {claim['item']}: {claim['text']} | {difference} |")
    return "\n".join([*lines, ""])


def _compared(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in summary["cells"] if cell["verdict"] is not None]


def _count(entries: list[dict[str, Any]], order: tuple[str, ...]) -> str:
    counts = Counter(entry["verdict"] for entry in entries)
    return ", ".join(f"{verdict}: {counts[verdict]}" for verdict in order if counts[verdict]) or "none"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _spread(value: float | None) -> str:
    return "" if value is None else f" ± {value:.2g}"
