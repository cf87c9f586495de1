"""The cluster's launcher on this machine: a Ray of its own runs the jobs of a multirun."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tasks.engine import store
from tests.e2e.test_train import command, environ, train
from tests.e2e.tiny import ROOT

MULTIRUN = ("hydra.mode=MULTIRUN", "hydra/launcher=ray", "hydra.launcher.init.num_cpus=2")


@pytest.fixture(autouse=True)
def no_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers give way to every other process; beside other tests on few cores they would hardly run."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


def test_without_ray_the_fix_is_named(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('hidden')")
    hidden = {**environ(), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = train(*MULTIRUN, "experiment=tiny/good", f"results_dir={tmp_path / 'results'}", env=hidden)
    assert done.returncode == 1 and "needs Ray: pip install -e '.[cluster]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "results").exists()


@pytest.mark.slow
def test_ray_runs_the_jobs_of_a_multirun(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    given = [*MULTIRUN, "trainer.max_epochs=2", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    given += ["experiment=tiny/bad,tiny/good", "seed=0,1", f"results_dir={tmp_path / 'results'}"]
    done = train(*given, "logger.mode=offline", timeout=300)
    assert done.returncode == 1 and "at least one job failed" in done.stderr, done.stdout + done.stderr
    runs, failed = store.load_runs(tmp_path / "results", "sample", "tiny")
    assert [(run.row, run.seed) for run in runs] == [("good", 0), ("good", 1)]
    assert [(job["row"], job["seed"]) for job in failed] == [("bad", 0), ("bad", 1)]
    assert "trainer.max_epochs=2 experiment=tiny/good seed=1 " in runs[1].run["command"]
    for run in runs:  # one W&B run a job, in the job's directory
        assert len(list((run.directory / "wandb").glob("offline-run-*"))) == 1
    assert (done.stdout + done.stderr).count("done  tiny good") == 2

    again = train(*(text.replace("tiny/bad,", "") for text in given), "logger.mode=offline", timeout=300)
    assert again.returncode == 0 and again.stdout.count("skip  tiny good") == 2, again.stdout + again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_job_whose_process_dies_is_started_again_and_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    given = ["experiment=tiny/good", "seed=0", "trainer.max_epochs=30", "trainer.checkpoint_seconds=0"]
    given += ["method.delay=0.1", "logger=csv", f"results_dir={tmp_path}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    driver = subprocess.Popen(
        command(*MULTIRUN, *given), cwd=ROOT, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    last = tmp_path / "sample/tiny/good/seed0/last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    (process,) = writers(last.with_name(".lock"))
    os.kill(process, signum)
    said = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, said
    run = store.load_run(last.parent)
    assert run and [row["epoch"] for row in run.metrics] == list(range(1, 31))
    assert "from epoch" in said and torch.load(last, weights_only=True)["epoch"] == 30
    assert not writers(last.with_name(".lock"))


def writers(path: Path) -> list[int]:
    """Ids of the processes that hold this file open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(path):
                found.add(int(link.parts[2]))
        except OSError:
            continue
    return sorted(found)
