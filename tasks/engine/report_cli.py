"""The command line of scripts/report.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tasks.engine import console, environment, page, profiles, readme, report, store
from tasks.engine.cli import Script, as_bool, groups, task_names
from tasks.engine.errors import ConfigError

SCRIPT = Script(
    "report.py",
    "Build the report of a task, or of all that have jobs.",
    {
        "profile": ("paper", "whose jobs; with TASK=all: those of every profile"),
        "publish": ("false", "keep the report of a TASK in the published record, too"),
        "results_dir": ("results", "where the jobs are, relative to the repository"),
    },
    words="TASK|all",
)
PUBLISHED = "published"  # beside the profiles: the record of every task, without the jobs' own files


def main(arguments: Sequence[str]) -> int:
    """`TASK|all [profile=paper] [publish=false] [results_dir=results]`; status 1 if the report has failed jobs.

    `all` reports every task that has jobs, of the profile that is named or of every profile, and makes the page of the
    published record.
    """
    task, pairs = SCRIPT.parse_task(arguments)
    if task in groups():
        return max([main([one, *arguments[1:]]) for one in groups()[task]])
    given = SCRIPT.defaults | pairs
    results = store.results_root(given["results_dir"])
    publish = as_bool("publish", given["publish"])
    if task == "all":
        if publish:
            raise ConfigError("publish=true takes one TASK, not all: publish the tasks one by one.")
        return _report_all(results, pairs.get("profile"))
    profile = profiles.check(given["profile"], task)
    summary, failed = report.build(task, profile, results, publish)
    if publish and results == store.ROOT / "results":
        readme.update(store.ROOT / "README.md", results / PUBLISHED)
    where = f"{results / profile / 'index.html'}" + (
        f", {results / PUBLISHED / store.record(task, profile)}" if publish else ""
    )
    console.say(f"{len(summary['cells'])} cells, {len(summary['claims'])} claims, {len(failed)} failed jobs: {where}")
    return int(bool(failed))


def _report_all(results: Path, wish: str | None) -> int:
    pages: list[Path] = []
    folders = [results / profiles.check(wish)] if wish and wish != PUBLISHED else sorted(results.glob("*"))
    there = [
        (task, folder.name, results)
        for folder in (folders if wish != PUBLISHED else ())
        for task in task_names()
        if any(store.load_runs(results, folder.name, task, curves=False))
    ]
    with _mapping(there) as each:
        failures = sum(each(_build, sorted(there, key=_jobs, reverse=True)))  # so that the cores end together
        pages += each(_page, list(dict.fromkeys((profile, results) for _, profile, _ in there)))
    if wish in (None, PUBLISHED) and (record := page.sources(results / PUBLISHED, jobs=False)):
        pages.append(page.write(results / PUBLISHED, record))
    if not pages:
        raise ConfigError(f"no jobs in {results / (wish or '')}: run `make reproduce-TASK` first.")
    for path in pages:
        console.say(f"{path}")
    return int(failures > 0)


@contextmanager
def _mapping(there: list[tuple[str, str, Path]]) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map`, side by side on the cores there are if figures of several reports must be drawn."""
    cores = environment.cores()
    drawing = [one for one in there if not report.is_drawn(*one)]
    if min(cores, len(drawing)) < 2:
        yield map
    else:
        with ProcessPoolExecutor(min(cores, len(drawing)), get_context("spawn")) as pool:
            yield pool.map


def _jobs(one: tuple[str, str, Path]) -> int:
    task, profile, results = one
    return sum(1 for _ in (results / profile / task).glob("*/seed*"))


def _build(one: tuple[str, str, Path]) -> int:
    return len(report.build(*one, pages=False)[1])


def _page(one: tuple[str, Path]) -> Path:
    profile, results = one
    return report.write_pages(results, profile)
