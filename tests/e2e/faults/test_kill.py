"""kill -9 at random moments of a multirun: the same results as undisturbed, and nothing finished is ever lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tasks.engine import store
from tasks.engine.cli import task_names
from tests.e2e.tiny import CONFIGS, ROOT

KILLS = int(os.environ.get("FPI_FAULTS", "0"))  # of every task's smoke profile; 5 make 50 over all tasks


def start(results: Path, *arguments: str) -> subprocess.Popen:
    """A multirun in a process group of its own, so that its workers can be killed with it."""
    given = ["profile=smoke", "logger=csv", "trainer.checkpoint_seconds=0", f"results_dir={results}", *arguments]
    command = [sys.executable, "scripts/train.py", "--config-dir", str(CONFIGS), *given]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True, **quiet)  # type: ignore[call-overload, no-any-return]


def finish(results: Path, *arguments: str) -> int:
    """Run to the end; returns the number of files that were written."""
    assert start(results, *arguments).wait(timeout=1800) == 0
    return len(written(results))


def written(results: Path) -> set[tuple[Path, int]]:
    """All files with their times: one that is written anew is another member."""
    found = set()
    for path in results.rglob("*"):
        with suppress(FileNotFoundError):  # replaced just now
            if path.is_file():
                found.add((path, path.stat().st_mtime_ns))
    return found


def kill_at_random(results: Path, generator: random.Random, kills: int, files: int, *arguments: str) -> int:
    """Start and kill so many times, each soon after one of the next `files` writes; returns the kills that hit.

    Counted in writes and not in seconds, so that all hit the work itself, however fast the machine. Checks after every
    kill that what was finished before is still there, byte for byte.
    """
    hits = 0
    for _ in range(kills):
        before = {path: path.read_bytes() for path in results.rglob("run.json")}
        there, enough = written(results), generator.randint(1, max(1, files))
        process = start(results, *arguments)
        while process.poll() is None and len(written(results) - there) < enough:
            time.sleep(0.01)
        time.sleep(generator.uniform(0.0, 0.1))
        if process.poll() is None:
            hits += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert all(path.read_bytes() == content for path, content in before.items())
        for path in results.rglob("run.json"):
            assert store.read_json(path) is not None  # whole, or not there
    return hits


def assert_same_results(one: Path, other: Path, task: str) -> None:
    """All that was computed, times and provenance left out."""
    ours, theirs = (store.load_runs(folder, "smoke", task) for folder in (one, other))
    assert not ours[1] and not theirs[1] and len(ours[0]) == len(theirs[0]) > 0
    for run, twin in zip(ours[0], theirs[0], strict=True):
        assert (run.row, run.protocol, run.seed) == (twin.row, twin.protocol, twin.seed)
        timed = [name for name in run.run["metrics"] if "seconds" in name or "time" in name]
        for key in ("epochs", "best_epoch", "config_hash", "g_evaluations"):
            assert run.run[key] == twin.run[key], key
        assert _without(run.run["metrics"], timed) == _without(twin.run["metrics"], timed)
        rows, twins = ([_without(row, ["seconds", *timed]) for row in r.metrics] for r in (run, twin))
        assert rows == twins
        states = [torch.load(r.directory / "last.ckpt", weights_only=True)["state_dict"] for r in (run, twin)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
        assert not list(run.directory.glob(".*.tmp"))


def _without(row: dict, names: list[str]) -> dict:
    return {key: value for key, value in row.items() if key not in names}


@pytest.mark.slow
def test_a_multirun_killed_at_random_moments(tmp_path: Path) -> None:
    multirun = ("hydra.mode=MULTIRUN", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    sweep = (*multirun, "experiment=bibtex/control,bibtex/fpi_nn", "protocol=paper,honest", "seed=0")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    files = finish(whole, *sweep)
    assert kill_at_random(killed, random.Random(0), 3, files // 3, *sweep) > 0
    finish(killed, *sweep)
    assert_same_results(killed, whole, "bibtex")


@pytest.mark.slow
@pytest.mark.skipif(not KILLS, reason="half an hour: `make test-faults` runs it")
@pytest.mark.parametrize("task", task_names())
def test_a_whole_task_killed_at_random_moments(tmp_path: Path, task: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    sweep = (f"reproduce={task}", "seed=0", "hydra.launcher.n_jobs=1")  # one process: no workers to start every time
    files = finish(whole, *sweep)
    hits, generator = 0, random.Random(task)
    while hits < KILLS:  # once all is done a run only skips: then it starts anew, elsewhere
        hits += kill_at_random(killed, generator, KILLS - hits, files // KILLS, *sweep)
        finish(killed, *sweep)
        assert_same_results(killed, whole, task)
        killed = killed.with_name(f"{killed.name}+")
