"""What the page says: every task's tables, claims, figures and runs in the form its template takes."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.engine import paper, sweeps, wording
from tasks.engine.page import charts
from tasks.engine.page.details import protocol_name, recorded, runs_by_row
from tasks.engine.store import Run

PICTURES = {"svg": "image/svg+xml", "png": "image/png"}
FILES = (*PICTURES, "csv")
SVG_LIMIT = 300_000  # bytes; beyond, the PNG is taken if it is smaller
NONE = "–"


@dataclass(frozen=True)
class Source:
    """One task's record: its summary, the folder that holds it (and its figures), and, where they are, its jobs."""

    summary: dict[str, Any]
    folder: Path
    items: tuple[paper.Item, ...]
    runs: list[Run] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def task(self) -> str:
        return str(self.summary["task"])

    @property
    def name(self) -> str:
        """The task's, or of a further published record the task's and its profile."""
        return self.folder.name

    @property
    def labels(self) -> dict[str, str]:
        return {row.row: row.label for item in self.items for row in item.rows}


def section(source: Source) -> dict[str, Any]:
    """One task's part of the page."""
    summary, labels = source.summary, source.labels
    known = {item.item: item for item in source.items}
    figures_there = [f for f in summary["figures"] if all((source.folder / f[kind]).exists() for kind in FILES)]
    owners = [wording.owner(figure, known) for figure in figures_there]
    curves = charts.of_runs(source.runs, labels)
    parts = []
    for name in sorted({*known, *owners, *(claim["item"] for claim in summary["claims"])}, key=wording.natural):
        figures = [figure for figure, owner in zip(figures_there, owners, strict=True) if owner == name]
        part = _item(source, name, known.get(name), curves)
        part["figures"] = [_figure(source, figure) for figure in figures]
        part["title"] = part["title"] or (figures[0].get("title", name) if figures else name)
        if part["lines"] or part["claims"] or part["figures"]:
            parts.append(part)
    cost = summary["cost"]
    verdicts = Counter(line["verdict"] for part in parts for line in (*part["lines"], *part["claims"]))
    return {
        **{"name": source.name, "summary": summary, "items": parts, "curves": curves},
        "counts": [(verdict, count) for verdict, count in verdicts.most_common() if verdict != NONE],
        "stand_ins": sorted({c["data"] for c in summary["cells"] if c["paper"] is not None and c["verdict"] is None}),
        "command": sweeps.command(source.task, summary),
        "cost": f"{cost['seconds_total']:,.0f} s of jobs, {cost['g_evaluations']:.3g} evaluations of g",
        "blocks": runs_by_row(source.name, source.runs, labels) or recorded(source.name, summary["cells"], labels),
        "failed": [job | {"error": wording.one_line(job["error"])} for job in source.failed],
    }


def _item(source: Source, name: str, item: paper.Item | None, curves: charts.Chart | None) -> dict[str, Any]:
    cells = [cell for cell in source.summary["cells"] if cell["item"] == name]
    found = {(cell["row"], cell["protocol"], cell["metric"]): cell for cell in cells}
    metrics = [wording.short(metric) for metric in (item.metric, *item.also)] if item else []
    metrics = [metric for metric in metrics if any(cell["metric"] == metric for cell in cells)]
    lines = []
    for row, protocol in dict.fromkeys((cell["row"], cell["protocol"]) for cell in cells):
        lines.append(_line(source, row, protocol, [found.get((row, protocol, metric)) for metric in metrics]))
    tolerances = sorted({cell["tolerance"] for cell in cells if cell["verdict"]})
    chart = None
    if item is not None and curves is not None:
        rows = [row.label for row in item.rows if row.label in curves["rows"]]
        chart = {"rows": rows, "metric": charts.preferred(curves, item.metric)} if rows else None
    return {
        **{"id": f"{source.name}-{name}", "item": name, "title": item.title if item else "", "chart": chart},
        **{"unit": item.unit if item else "", "metrics": metrics, "lines": lines},
        "by_protocol": any(line["protocol"] for line in lines),
        "notes": [note for protocol, note in wording.NOTES.items() if any(c["protocol"] == protocol for c in cells)],
        "tolerances": ", ".join(f"{tolerance:g}" for tolerance in tolerances),
        "claims": [_claim(claim) for claim in source.summary["claims"] if claim["item"] == name],
    }


def _line(source: Source, row: str, protocol: str, cells: list[dict[str, Any] | None]) -> dict[str, Any]:
    main = cells[0]
    published = main["paper"] if main else None
    verdict = main["verdict"] if main and main["verdict"] else "stand-in data" if published is not None else NONE
    return {
        "label": source.labels.get(row, row),
        "block": f"run-{source.name}-{row}-{protocol}",
        "protocol": protocol_name(protocol),
        "paper": NONE if published is None else f"{published:g}",
        "values": [_value(cell) for cell in cells],
        "seeds": [NONE if v is None else f"{v:.4g}" for v in main["values"]] if main else [],
        "verdict": verdict,
        "data": main["data"] if main else NONE,
    }


def _value(cell: dict[str, Any] | None) -> str:
    return NONE if cell is None else wording.plus_minus(cell["mean"], cell["ci95"], cell["n"])


def _claim(claim: dict[str, Any]) -> dict[str, Any]:
    difference = wording.plus_minus(claim["difference"], claim["ci95"], claim["n"])
    return {**{key: claim[key] for key in ("text", "verdict", "data")}, "difference": difference}


def _figure(source: Source, figure: dict[str, Any]) -> dict[str, Any]:
    """The figure with its picture inside (a data: address) and its points as a chart, if they are curves."""
    files = {kind: source.folder / figure[kind] for kind in FILES}
    small = files["svg"].stat().st_size <= max(SVG_LIMIT, files["png"].stat().st_size)
    kind = "svg" if small else "png"
    title, caption = figure.get("title", figure["item"]), figure.get("caption", "")
    return {
        **{"item": figure["item"], "title": title, "caption": caption},
        "alt": f"{figure['item']}: {title}. {caption}".strip(),
        "src": f"data:{PICTURES[kind]};base64,{base64.b64encode(files[kind].read_bytes()).decode()}",
        "links": [(name.upper(), figure[name]) for name in files],
        "chart": charts.of_figure(files["csv"], source.labels),
    }
