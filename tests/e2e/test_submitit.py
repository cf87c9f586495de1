"""The cluster's launcher on this machine: submitit's local executor runs the jobs of a multirun."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import store
from tests.e2e.test_train import train


@pytest.mark.slow
def test_submitit_runs_the_jobs_of_a_multirun(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra `cluster`")
    launcher = [
        "hydra/launcher=submitit_local",
        "hydra.launcher.timeout_min=5",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]
    sweep = ["hydra.mode=MULTIRUN", "experiment=tiny/good", "seed=0,1", "trainer.max_epochs=2", "logger=csv"]
    done = train(*launcher, *sweep, f"results_dir={tmp_path / 'results'}", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    runs, failed = store.load_runs(tmp_path / "results", "sample", "tiny")
    assert [run.seed for run in runs] == [0, 1] and not failed
    assert (tmp_path / "sweep").is_dir()  # submitit's logs of each job
