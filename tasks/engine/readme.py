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
    """Markdown: tables and claims of the tasks on the paper's data, then one line for each task on stand-in data."""
    summaries = [summary for path in sorted(published.glob("*/summary.json")) if (summary := store.read_json(path))]
    parts: list[str] = []
    for summary in summaries:
        if summary["profile"] == "paper":
            tables = _tables(summary)
            parts += [*tables, *(_claims(summary) if tables else _count(summary))]
    parts += _stand_ins([summary for summary in summaries if summary["profile"] != "paper"])
    return "\n".join([*parts, ""]) if parts else ""


def _tables(summary: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for item in paper.items(summary["task"]):
        metric = item.metric.removeprefix("test/")
        cells = [cell for cell in summary["cells"] if cell["item"] == item.item and cell["metric"] == metric]
        if not any(cell["paper"] is not None for cell in cells):
            continue  # a figure: its claims say it all
        protocols = [protocol for protocol in PROTOCOLS if any(cell["protocol"] == protocol for cell in cells)]
        heads = [head for protocol in protocols for head in (f"{PROTOCOLS[protocol]} ({item.unit})", "verdict")]
        lines += [f"**{item.title}** ([full record]({_link(summary)}))", ""]
        lines += [f"| row | paper | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
        for row in item.rows:
            found = {cell["protocol"]: cell for cell in cells if cell["row"] == row.row}
            if found:
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
    lines = [f"**Claims, {summary['task']}** ([figures]({_link(summary)}))", ""]
    lines += ["| claim | difference ± 95 % | verdict |", "|---|---|---|"]
    for claim in summary["claims"]:
        difference = "–" if claim["difference"] is None else f"{claim['difference']:.3g}"
        spread = "" if claim["ci95"] is None else f" ± {claim['ci95']:.2g}"
        lines.append(f"| {claim['text']} | {difference}{spread} (n={claim['n']}) | {claim['verdict']} |")
    return [*lines, ""]


def _stand_ins(summaries: list[dict[str, Any]]) -> list[str]:
    """How the claims fare where the paper's data, or the time for them, were not at hand: no number is comparable."""
    if not summaries:
        return []
    verdicts = ("holds", "contradicted", "inconclusive")
    lines = [
        "**On stand-in data or a shorter schedule**, small enough for a CPU and not to be compared with the papers'",
        "numbers: how many of their claims, and of ours beside them, hold there",
        "",
        f"| task | data | {' | '.join(verdicts)} | |",
        "|---" * (3 + len(verdicts)) + "|",
    ]
    for summary in summaries:
        found = [claim["verdict"] for claim in summary["claims"]]
        counts = " | ".join(str(found.count(verdict)) for verdict in verdicts)
        data = ", ".join(sorted({claim["data"] for claim in summary["claims"]}))
        lines.append(f"| {_record(summary)} | {data} | {counts} | [record]({_link(summary)}) |")
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
    return f"results/published/{_record(summary)}/README.md"


def _record(summary: dict[str, Any]) -> str:
    return store.record(summary["task"], summary["profile"])
