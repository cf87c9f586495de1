"""All measurements of the core's benchmark, and what is made of them: table, JSON, figure."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cases
import curves
import torch
from case import Case
from common import Row, write
from overhead import compaction, evaluation, memory, overhead

PEERS = ("torchdeq", "jax", "jaxlib", "jaxopt", "optimistix", "equinox", "lineax")
BUDGET = 1.0  # seconds that a contestant may take over its repeats at one point


Save = Callable[[list[Row], dict[str, Any]], None]


def measure(keys: Sequence[str], repeats: int, save: Save) -> tuple[list[Row], dict[str, Any]]:
    """The rows, and under "curves", "gradients", "compile_seconds", "versions" and "skipped" the rest.

    ``save`` gets both after every case, so that a later one that fails takes nothing with it.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    data = os.environ.get("FPI_DATA")
    problems, skipped = cases.build(list(keys), Path(data) if data else None)
    skipped += [f"{name}: not installed" for name in PEERS[:5] if importlib.util.find_spec(name) is None]
    rows: list[Row] = []
    more: dict[str, Any] = {"curves": {}, "gradients": {}, "compile_seconds": {}, "skipped": skipped}
    more["versions"] = {name: importlib.metadata.version(name) for name in PEERS if importlib.util.find_spec(name)}
    if "a" in keys:
        rows += overhead(cases.mlp(64, 32, slow=True), 3 * repeats)
        rows.append(memory(cases.mlp(64, 32, slow=True)))
    for case in problems:
        started = time.perf_counter()
        settings = curves.contestants(case)
        in_units = evaluation(case, repeats)
        rows += in_units
        if case.name != "c":  # the form and sizes of "c generated"
            rows += overhead(case, repeats)
        if case.form == "rates":
            rows += compaction(case, repeats)
        print(f"{case.name}: overhead done in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        points = curves.residual_curves(case, settings, repeats, BUDGET)
        more["curves"][case.name] = {"title": case.title, "error": case.error_name, "contestants": points}
        rows += best_of(case, points, in_units[0].values if in_units else {})
        print(f"{case.name}: residuals done in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        if case.gradients:
            times = curves.gradient_times(case, settings, repeats, 2 * BUDGET)
            more["gradients"][case.name] = times
            seconds = {name: found["seconds"] for name, found in times.items() if found is not None}
            rows += compared(f"gradient to {curves.GRADIENT_TARGET:g}, {case.title}", seconds)
        more["compile_seconds"][case.name] = {
            f"{setting.contestant}, {setting.label}": setting.compile_seconds
            for setting in settings
            if setting.compile_seconds
        }
        print(f"{case.name}: {time.perf_counter() - started:.0f} s ({case.title})", file=sys.stderr, flush=True)
        save(rows, more)
    return rows, more


def best_of(case: Case, points: dict[str, list[dict[str, Any]]], of_g: Mapping[str, float]) -> list[Row]:
    """At every target, this library's fastest solver against every library's fastest.

    A second row counts in evaluations of g, each library's time divided by ``of_g``, the seconds of one evaluation in
    what computes its g: only there do solvers, not matrix libraries, compete.
    """
    rows = []
    for target in case.targets:
        seconds = {
            name: point["seconds"] for name, found in points.items() for point in found if point["target"] == target
        }
        rows += compared(f"residual {target:g}, {case.title}", seconds)
        if of_g:
            units = {
                name: value / of_g["XLA" if name.startswith(("jaxopt ", "optimistix ")) else "torch"]
                for name, value in seconds.items()
            }
            rows += compared(f"residual {target:g} in evaluations of g, {case.title}", units)
    return rows


def compared(title: str, seconds: dict[str, float]) -> list[Row]:
    """One row: the fastest of ours over the fastest of the peers; values hold everybody's time."""
    ours = [name for name in seconds if name.startswith("fpi ")]
    peers = [name for name in seconds if not name.startswith(("fpi ", "bare "))]
    if not ours or not peers:
        return []
    return [Row(f"time to {title}", seconds, min(ours, key=seconds.__getitem__), min(peers, key=seconds.__getitem__))]


def publish(
    rows: list[Row], more: dict[str, Any], options: argparse.Namespace, seconds: float, final: bool = True
) -> None:
    """Write what was asked for; finally, print."""
    write("core", rows, options.json, options.threads, seconds, more, show=final)
    if final:
        for reason in more["skipped"]:
            print(f"skipped: {reason}")
    if options.plot:
        import plot

        plot.draw(more["curves"], Path(options.plot))
