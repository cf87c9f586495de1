"""The result tables of the project's README, generated from results/published/*/summary.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.engine import paper, store
from tasks.engine.errors import ConfigError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
PROTOCOLS = {"none": "ours", "paper": "ours, paper's protocol", "honest": "ours, honest protocol"}


def update(readme: Path, published: Path) -> None:
    """Replace the text between the markers of ``readme`` by :func:`results_section`.

    Raises:
        ConfigError: the markers are missing.
    """
    text = readme.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{readme} lacks the markers {BEGIN} and {END}, between which the result tables go.")
    store.atomic_write(readme, f"{head}{BEGIN}\n{results_section(published)}{END}{tail}")


def results_section(published: Path) -> str:
    """Markdown: for every published task its tables with the paper's numbers and its claims, or the claims' count."""
    parts = []
    for path in sorted(published.glob("*/summary.json")):
        summary = store.read_json(path)
        if summary is not None:
            tables = _tables(summary)
            parts += [*tables, *(_claims(summary) if tables else _count(summary))]
    return "\n".join([*parts, ""]) if parts else ""


def _tables(summary: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for item in paper.items(summary["task"]):
        metric = item.metric.removeprefix("test/")
        cells = [cell for cell in summary["cells"] if cell["item"] == item.item and cell["metric"] == metric]
        if not any(cell["paper"] is not None for cell in cells):
            continue  # a figure: its claims say it all
        stand_in = all(cell["verdict"] is None for cell in cells)
        protocols = [protocol for protocol in PROTOCOLS if any(cell["protocol"] == protocol for cell in cells)]
        heads = [head for protocol in protocols for head in (f"{PROTOCOLS[protocol]} ({item.unit})", "verdict")]
        where = (
            f" on **stand-in data ({cells[0]['data']})**, not comparable with the paper's numbers" if stand_in else ""
        )
        lines += [f"**{item.title}**{where} ([full record]({_link(summary)}))", ""]
        lines += [f"| row | paper | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
        for row in item.rows:
            found = {cell["protocol"]: cell for cell in cells if cell["row"] == row.row}
            if found and not (stand_in and row.paper is None):  # the record has the other rows
                entries = [text for protocol in protocols for text in _entry(found.get(protocol))]
                lines.append(f"| {row.label} | {'–' if row.paper is None else row.paper} | {' | '.join(entries)} |")
        lines.append("")
    return lines


def _entry(cell: dict[str, Any] | None) -> tuple[str, str]:
    if cell is None or cell["mean"] is None:
        return "–", "–"
    spread = "" if cell["ci95"] is None else f" ± {cell['ci95']:.2f}"
    return f"{cell['mean']:.2f}{spread} (n={cell['n']})", cell["verdict"] or "–"


def _claims(summary: dict[str, Any]) -> list[str]:
    stand_in = all(cell["verdict"] is None for cell in summary["cells"])
    claims = [claim for claim in summary["claims"] if not stand_in or claim["verdict"] != "inconclusive"]
    left = len(summary["claims"]) - len(claims)
    title = f"Claims of the thesis, {summary['task']}" + (" on stand-in data" if stand_in else "")
    lines = [f"**{title}** ([figures]({_link(summary)}))" + (f"; {left} more are inconclusive" if left else ""), ""]
    lines += ["| claim | difference ± 95 % | verdict |", "|---|---|---|"]
    for claim in claims:
        difference = "–" if claim["difference"] is None else f"{claim['difference']:.3g}"
        spread = "" if claim["ci95"] is None else f" ± {claim['ci95']:.2g}"
        lines.append(f"| {claim['text']} | {difference}{spread} (n={claim['n']}) | {claim['verdict']} |")
    return [*lines, ""]


def _count(summary: dict[str, Any]) -> list[str]:
    """A task without tables in one line: how many of its claims hold, and which do not."""
    verdicts = [claim["verdict"] for claim in summary["claims"]]
    items = sorted({claim["item"] for claim in summary["claims"]})
    others = [f"{claim['text']} ({claim['verdict']})" for claim in summary["claims"] if claim["verdict"] != "holds"]
    rest = f" Not: {'; '.join(others)}." if others else ""
    held = f"{verdicts.count('holds')} of {len(verdicts)} claims hold"
    return [f"**{summary['task']}, {items[0]}–{items[-1]}**: {held} ([figures]({_link(summary)})).{rest}", ""]


def _link(summary: dict[str, Any]) -> str:
    return f"results/published/{summary['task']}/README.md"
