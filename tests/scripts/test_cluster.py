"""What scripts/docs/cluster.md says: any launcher can take any sweep, and submitit runs the jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.engine.store import load_runs

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = sorted((ROOT / "configs" / "reproduce").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_sets_no_key_of_one_launcher(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert "launcher" not in content["hydra"], "another launcher would refuse the key: leave it to the command line"


@pytest.mark.slow
def test_submitit_runs_a_sweep(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra `cluster`")
    given = ["reproduce=toy", "profile=smoke", "experiment=toy/constrained_feedforward", "seed=0,1"]
    given += [
        "hydra/launcher=submitit_local",
        f"results_dir={tmp_path}",
        f"hydra.launcher.submitit_folder={tmp_path}/%j",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    command = [sys.executable, "scripts/train.py", *given]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    runs, failed = load_runs(tmp_path, "smoke", "toy")
    assert [run.seed for run in runs] == [0, 1] and not failed
