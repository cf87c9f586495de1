"""scripts/train.py as a user runs it: killed, out of room, side by side, and typed wrongly."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tasks.engine import store
from tasks.engine.job import run_job
from tests.e2e.tiny import CONFIGS, ROOT, config

EPOCHS = 30


def command(*arguments: str) -> list[str]:
    return [sys.executable, "scripts/train.py", "--config-dir", str(CONFIGS), *arguments]


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}


def train(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"cwd": ROOT, "env": environ(), "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(command(*arguments), **(settings | options))  # type: ignore[call-overload, no-any-return]


def test_a_killed_job_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    epochs = f"trainer.max_epochs={EPOCHS}"
    given = ("experiment=tiny/good", epochs, "method.delay=0.05", f"results_dir={tmp_path / 'killed'}")
    killed = tmp_path / "killed/sample/tiny/good/seed0"
    process = subprocess.Popen(command(*given), cwd=ROOT, env=environ(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (killed / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "run.json").exists()
    before = torch.load(killed / "last.ckpt", weights_only=True)["epoch"]
    assert 0 < before < EPOCHS

    resumed = train(*given)
    assert resumed.returncode == 0 and f"from epoch {before}" in resumed.stdout, resumed.stdout + resumed.stderr
    run_job(config(epochs, "method.delay=0.05", f"results_dir={tmp_path / 'whole'}"))
    whole = tmp_path / "whole/sample/tiny/good/seed0"

    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (torch.load(folder / name, weights_only=True) for folder in (killed, whole))
        assert ours["epoch"] == theirs["epoch"]
        assert all(torch.equal(ours["state_dict"][key], value) for key, value in theirs["state_dict"].items())
    histories = [store.read_csv(folder / "metrics.csv") for folder in (killed, whole)]
    assert [row | {"seconds": 0} for row in histories[0]] == [row | {"seconds": 0} for row in histories[1]]
    runs = [json.loads((folder / "run.json").read_text()) for folder in (killed, whole)]
    for key in ("metrics", "best_epoch", "config_hash", "g_evaluations"):
        assert runs[0][key] == runs[1][key]


def test_a_multirun_goes_on_after_a_failed_job_and_exits_with_an_error(tmp_path: Path) -> None:
    sweep = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "experiment=tiny/bad,tiny/good", "seed=0,1"]
    done = train("hydra.mode=MULTIRUN", *sweep, "trainer.max_epochs=2", f"results_dir={tmp_path}")
    assert done.returncode == 1
    runs, failed = store.load_runs(tmp_path, "sample", "tiny")
    assert [(run.row, run.seed) for run in runs] == [("good", 0), ("good", 1)]
    assert [(job["row"], job["seed"]) for job in failed] == [("bad", 0), ("bad", 1)]
    alone = "python scripts/train.py experiment=tiny/good seed=1 trainer.max_epochs=2 profile=sample"
    assert runs[1].run["command"] == alone
    # two jobs that fail at the same moment may both say why
    said, referred = done.stderr.count("asked to fail"), done.stdout.count("failed like bad/seed")
    assert said >= 1 and said + referred == 2 and "Traceback (most" not in done.stderr
    assert "at least one job failed" in done.stderr

    again = train("experiment=tiny/good", "seed=1", "trainer.max_epochs=2", f"results_dir={tmp_path}")
    assert again.returncode == 0 and again.stdout.startswith("skip")


def test_no_room_for_a_file_is_a_clear_error_and_finished_jobs_stay(tmp_path: Path) -> None:
    run_job(config("seed=1", "trainer.max_epochs=1", f"results_dir={tmp_path}"))
    kept = (tmp_path / "sample/tiny/good/seed1/run.json").read_bytes()

    def small_files() -> None:  # smaller than last.ckpt
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    given = ("experiment=tiny/good", "trainer.max_epochs=2", f"results_dir={tmp_path}")
    done = train(*given, preexec_fn=small_files)
    assert done.returncode == 1
    assert "last.ckpt: File too large" in done.stderr or "best.ckpt: File too large" in done.stderr
    assert "free space" in done.stderr and "Traceback (most" not in done.stderr
    directory = tmp_path / "sample/tiny/good/seed0"
    assert not (directory / "run.json").exists() and not (directory / "last.ckpt").exists()
    assert not list(directory.glob(".*.tmp"))
    assert (tmp_path / "sample/tiny/good/seed1/run.json").read_bytes() == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=tiny/good", "method.dropuot=0.1"], "unknown key method.dropuot. Did you mean dropout?"),
        (
            ["experiment=bibtex/fpi_n"],
            "experiment=bibtex/fpi_n: there is no such experiment. Did you mean bibtex/fpi_nn?",
        ),
        (["experiment=tiny/good", "profile=papr"], "profile=papr: there is no such profile. Did you mean paper?"),
        (
            ["experiment=bibtex/fpi_nn", "protocol=papr"],
            "protocol='papr' is not valid for bibtex: expected paper or honest",
        ),
        (["bibtex/fpi_nn"], "'bibtex/fpi_nn' is not key=value. Did you mean experiment=bibtex/fpi_nn?"),
        (["bibtex"], "'bibtex' is not key=value. `--help` lists"),
        (["--experiment", "bibtex/fpi_nn"], "written without dashes, experiment=bibtex/fpi_nn"),
        (["--seed=1"], "written without dashes, seed=1"),
        (["experiment=tiny/good", "row=???"], "Mandatory key without a value: row. Add row=VALUE"),
        (
            ["experiment=bibtex/fpi_nn", "method.optimizer.lr=fast"],
            "method.optimizer.lr=fast is not valid: expected a number, such as 0.001.",
        ),
        ([], "No task: add experiment=TASK/ROW, TASK one of bibtex, classification-cifar10, "),
    ],
    ids=["key", "experiment", "profile", "protocol", "row", "task", "option", "seed", "mandatory", "kind", "nothing"],
)
def test_a_wrong_command_line_is_one_paragraph(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = train(*arguments, f"results_dir={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "HYDRA_FULL_ERROR" not in done.stderr
    assert done.stderr.startswith("error: ")  # nothing of Hydra's before it
    assert not list(tmp_path.iterdir())
