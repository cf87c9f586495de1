"""Behind every row of a table: the values of each seed, and the command, config, code and machine they came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.engine import console
from tasks.engine.store import Run

MACHINE_KEYS = ("results_dir", "logger", "force")  # of config.yaml: where a job ran, not what it computed
FILES = ("run.json", "metrics.csv", "config.yaml")


def protocol_name(protocol: str) -> str:
    return "" if protocol == "none" else protocol


def runs_by_row(task: str, runs: Sequence[Run], labels: dict[str, str]) -> list[dict[str, Any]]:
    """One block a row and protocol; its runs are the columns of `lines`, every final metric is a line."""
    blocks = []
    for row, protocol in dict.fromkeys((run.row, run.protocol) for run in runs):
        found = [run for run in runs if (run.row, run.protocol) == (row, protocol)]
        metrics = dict.fromkeys(name for run in found for name in run.run["metrics"])
        tested_first = sorted(metrics, key=lambda name: not name.startswith("test/"))
        lines = [(name, [console.number(run.run["metrics"].get(name, "–")) for run in found]) for name in tested_first]
        lines += [(key, [str(run.run.get(key) or "–") for run in found]) for key in ("epochs", "best_epoch")]
        lines += [
            ("seconds", [f"{run.run['seconds']:.1f}" for run in found]),
            ("commit", [commit(run)[:10] + ("+changes" if commit(run).endswith("+changes") else "") for run in found]),
            ("hardware", [run.run["env"]["hardware"] for run in found]),
        ]
        blocks.append(
            {
                **_head(task, row, protocol, labels),
                **{"seeds": [run.seed for run in found], "lines": lines, "command": found[0].run["command"]},
                "links": [
                    [(name, _link(run, name)) for name in FILES if (run.directory / name).exists()] for run in found
                ],
                "config": config_text(found[0].directory / "config.yaml"),
            }
        )
    return blocks


def recorded(task: str, cells: Sequence[dict[str, Any]], labels: dict[str, str]) -> list[dict[str, Any]]:
    """The same from the cells of a record, where the jobs' own files are not at hand."""
    blocks = []
    for row, protocol in dict.fromkeys((cell["row"], cell["protocol"]) for cell in cells):
        found = {cell["metric"]: cell for cell in cells if (cell["row"], cell["protocol"]) == (row, protocol)}
        count = max(len(cell["values"]) for cell in found.values())
        lines = []
        for name, cell in found.items():
            values = [console.number("–" if value is None else value) for value in cell["values"]]
            lines.append((name, values + ["–"] * (count - len(values))))
        command = next(iter(found.values()))["command"]
        head = _head(task, row, protocol, labels)
        blocks.append(head | {"seeds": range(count), "lines": lines, "command": command, "links": [], "config": None})
    return blocks


def commit(run: Run) -> str:
    git = run.run["env"]["git"]
    return (git["commit"] or "unknown") + ("+changes" if git["dirty"] else "")


def config_text(path: Path) -> str | None:
    """config.yaml without the keys that say where the job ran; None if the file is missing."""
    if not path.exists():
        return None
    kept, lines = True, []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line[0] not in " -\n":  # else it belongs to the key above
            kept = line.partition(":")[0] not in MACHINE_KEYS
        if kept:
            lines.append(line)
    return "".join(lines)


def _head(task: str, row: str, protocol: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "id": f"run-{task}-{row}-{protocol}",
        "label": labels.get(row, row),
        "row": row,
        "protocol": protocol_name(protocol),
    }


def _link(run: Run, name: str) -> str:
    """The way from the page, in results/<profile>/, to a file of the job."""
    return "/".join([*run.directory.parts[-3:], name])
