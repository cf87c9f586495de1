"""From finished jobs to the record: summary.json, figures, README.md. Reads run.json, failed.json and CSV files."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.engine import estimate, figures, page, paper, report_markdown, store
from tasks.engine.errors import ConfigError
from tasks.engine.store import Run
from tasks.engine.verdict import Claim, judge_cell, judge_claim, mean_ci95

PROTOCOL_ORDER = ("none", "paper", "honest")


def build(
    task: str, profile: str, results: Path, publish: bool = False, pages: bool = True
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write the report of a task at a profile; returns (summary, failed jobs).

    Writes <results>/<profile>/<task>/{summary.json, figures/} and <results>/<profile>/{README.md, index.html}, which
    cover every task that has a summary there; `publish` copies the summary, the figures and the task's tables to
    <results>/published/<record>/, see `store.record`. With `pages=False` README.md and index.html are left to a later
    `write_pages`.

    Raises:
        ConfigError: no job of this task and profile has finished or failed; or publishing profile=smoke.
    """
    if publish and profile == "smoke":
        raise ConfigError("publish=true with profile=smoke: its numbers mean nothing. Choose profile=paper or sample.")
    runs, failed = store.load_runs(results, profile, task)
    if not runs and not failed:
        raise ConfigError(
            f"no jobs in {results / profile / task}: run `make reproduce-{task} PROFILE={profile}` first."
        )
    folder = results / profile / task
    summary = summarise(task, profile, runs, _figures(task, runs, folder))
    store.write_json(folder / "summary.json", summary)
    summary = store.finite(summary)
    if pages:
        write_pages(results, profile)
    if publish:
        target = results / "published" / store.record(task, profile)
        _publish(task, summary, failed, folder, target)
        store.write_json(target / estimate.TIMES, estimate.times(profile, runs))
    return summary, failed


def is_drawn(task: str, profile: str, results: Path) -> bool:
    """Whether the figures of a report are there, drawn from the runs as they are."""
    runs, _ = store.load_runs(results, profile, task, curves=False)
    return figures.kept(results / profile / task, figures.state(task, runs)) is not None


def write_pages(results: Path, profile: str) -> Path:
    """Write README.md and index.html of <results>/<profile> over every task with a summary.json; returns the latter."""
    sources = page.sources(results / profile)
    sections = [
        report_markdown.section(source.task, source.summary, source.failed, source.items, f"{source.task}/")
        for source in sources
    ]
    store.atomic_write(results / profile / "README.md", report_markdown.page(f"Results, profile {profile}", sections))
    return page.write(results / profile, sources)


def summarise(task: str, profile: str, runs: list[Run], drawn: list[dict[str, str]]) -> dict[str, Any]:
    """The published record of a task: the content of summary.json. `drawn`: the record of its figures."""
    return {
        "task": task,
        "profile": profile,
        "commit": _joined(_commit(run) for run in runs),
        "hardware": _joined(run.run["env"]["hardware"] for run in runs),
        "date": datetime.now(UTC).date().isoformat(),
        "cells": [cell for item in paper.items(task) for cell in _cells(item, runs)],
        "claims": _claims(task, runs),
        "figures": drawn,
        "cost": {
            "seconds_total": round(sum(run.run["seconds"] for run in runs), 1),
            "g_evaluations": sum(run.run["g_evaluations"] for run in runs),
        },
    }


def _cells(item: paper.Item, runs: list[Run]) -> list[dict[str, Any]]:
    cells = []
    for row in item.rows:
        for protocol in PROTOCOL_ORDER:
            found = [run for run in runs if run.row == row.row and run.protocol == protocol]
            for metric in (item.metric, *item.also):
                # a run that diverged has no other result: what it logged before says nothing
                valid = [run for run in found if metric == "diverged" or run.metric("diverged") != 1]
                if any(metric in run.run["metrics"] for run in valid):
                    cells.append(_cell(item, row, protocol, metric, valid))
    return cells


def _cell(item: paper.Item, row: paper.PaperRow, protocol: str, metric: str, runs: list[Run]) -> dict[str, Any]:
    values = [run.metric(metric) for run in runs]
    mean, half = mean_ci95(values)
    comparable = metric == item.metric and row.paper is not None and not any(run.run["stand_in"] for run in runs)
    verdict = None
    if comparable:
        assert row.paper is not None and row.tolerance is not None
        verdict = judge_cell(values, row.paper, row.tolerance, item.higher_is_better)
    return {
        "item": item.item,
        "row": row.row,
        "protocol": protocol,
        "metric": metric.rpartition("/")[2] if metric.startswith("test/") else metric,
        "unit": item.unit,
        "paper": row.paper if metric == item.metric else None,
        "values": values,
        "mean": mean,
        "ci95": half,
        "n": len(values),
        "tolerance": row.tolerance if metric == item.metric and row.paper is not None else None,
        "verdict": verdict,
        "data": _joined(run.run["data"] for run in runs),
        "command": runs[0].run["command"],
    }


def _claims(task: str, runs: list[Run]) -> list[dict[str, Any]]:
    module = _task_module(task, "claims")
    claims: list[Claim] = module.claims(runs) if module and runs else []
    judged = [judge_claim(claim) for claim in claims]
    return [
        {
            **{"item": one.claim.item, "text": one.claim.text, "difference": one.difference},
            **{"ci95": one.ci95, "n": one.n, "verdict": one.verdict, "data": one.claim.data},
        }
        for one in judged
    ]


def _figures(task: str, runs: list[Run], folder: Path) -> list[dict[str, str]]:
    state = figures.state(task, runs)
    if (there := figures.kept(folder, state)) is not None:
        return there
    out = figures.clear(folder)
    module = _task_module(task, "figures")
    with figures.collecting_rarely():
        return figures.keep(folder, state, module.figures(runs, out) if module and runs else [])


def _task_module(task: str, name: str) -> Any:
    """tasks.<package>.<name>, or None if the task has none; chosen by name, for the engine imports no task.

    Tasks that share a package are named <package>-<part>.
    """
    package = f"tasks.{task.partition('-')[0]}"
    full = f"{package}.{name}"
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(full) is None:
        return None
    return importlib.import_module(full)


def _publish(task: str, summary: dict[str, Any], failed: list[dict[str, Any]], folder: Path, target: Path) -> None:
    shutil.rmtree(target / "figures", ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    if (folder / "figures").is_dir():
        shutil.copytree(folder / "figures", target / "figures")
    store.write_json(target / "summary.json", summary)
    section = report_markdown.section(task, summary, failed, paper.items(task), "")
    store.atomic_write(target / "README.md", report_markdown.page("Published results", [section]))


def _commit(run: Run) -> str:
    git = run.run["env"]["git"]
    return (git["commit"] or "unknown") + ("+changes" if git["dirty"] else "")


def _joined(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))
