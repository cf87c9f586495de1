"""The command line of scripts/report.py."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine import console, readme, report, store
from tasks.engine.cli import as_bool, check_profile, parse_task
from tasks.engine.errors import ConfigError


def main(arguments: Sequence[str]) -> int:
    """`TASK [profile=paper] [publish=false] [results_dir=results]`; status 1 if the report has failed jobs."""
    task, pairs = parse_task(arguments, "report.py")
    known = {"profile": "paper", "publish": "false", "results_dir": "results"}
    if unknown := sorted(pairs.keys() - known.keys()):
        raise ConfigError(f"unknown key '{unknown[0]}': report.py takes {', '.join(known)}.")
    given = known | pairs
    results = store.results_root(given["results_dir"])
    publish = as_bool("publish", given["publish"])
    profile = check_profile(given["profile"])
    summary, failed = report.build(task, profile, results, publish)
    if publish and results == store.ROOT / "results":
        readme.update(store.ROOT / "README.md", results / "published")
    where = f"{results / profile / 'README.md'}" + (f", {results / 'published' / task}" if publish else "")
    console.say(f"{len(summary['cells'])} cells, {len(summary['claims'])} claims, {len(failed)} failed jobs: {where}")
    return int(bool(failed))
