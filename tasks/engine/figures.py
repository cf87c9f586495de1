"""A task's figures: what its figures module drew, and when it must draw again.

Drawing takes longer than all the rest of a report. So the figures of a report stay as they are until the files that
they are drawn from, the code that draws them or the plotting library change.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.engine import store
from tasks.engine.store import ROOT, Run

if TYPE_CHECKING:  # a report that draws nothing need not load matplotlib
    from tasks.engine.plots import FigureFile

FOLDER, STAMP = "figures", "figures.json"  # in results/<profile>/<task>/
KINDS = ("png", "svg", "csv")


def state(task: str, runs: Sequence[Run]) -> str:
    """A digest that changes with whatever the figures of these runs depend on.

    That is every file directly in the runs' directories but checkpoints (by name, size and time), the code of the task
    and of the engine, and the version of matplotlib.
    """
    digest = hashlib.sha256(metadata.version("matplotlib").encode())
    for folder in (ROOT / "tasks" / task.partition("-")[0], ROOT / "tasks" / "engine"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    for line in _files(runs):
        digest.update(line.encode())
    return digest.hexdigest()


def kept(folder: Path, state: str) -> list[dict[str, str]] | None:
    """The record of the figures in <folder>/figures, if they were drawn in this state and are all there; else None."""
    stamp = store.read_json(folder / STAMP)
    if stamp is None or stamp["state"] != state:
        return None
    found: list[dict[str, str]] = stamp["figures"]
    return found if all((folder / figure[kind]).is_file() for figure in found for kind in KINDS) else None


def clear(folder: Path) -> Path:
    """Remove all figures of <folder>; returns where new ones belong."""
    (folder / STAMP).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    return folder / FOLDER


def keep(folder: Path, state: str, drawn: Iterable[FigureFile]) -> list[dict[str, str]]:
    """The record of figures drawn just now, remembered for `kept`."""
    found = [asdict(file) | {kind: f"{FOLDER}/{getattr(file, kind)}" for kind in KINDS} for file in drawn]
    store.write_json(folder / STAMP, {"state": state, "figures": found})
    return found


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Look for unreachable objects after every 100,000 new ones: drawing makes many, and hardly drops any before a
    figure is done, so that the usual 700 cost a sixth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _files(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        for path in sorted(run.directory.iterdir()):
            if path.suffix != ".ckpt" and not path.name.startswith(".") and path.is_file():
                stat = path.stat()
                yield json.dumps([run.row, run.protocol, run.seed, path.name, stat.st_size, stat.st_mtime_ns])
