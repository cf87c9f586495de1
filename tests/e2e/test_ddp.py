"""One job in two processes: the curve of one process, and no harm when a process ends before its time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tasks.engine import store
from tasks.engine.errors import ConfigError
from tasks.engine.job import run_job
from tests.e2e.test_train import command, environ, train
from tests.e2e.tiny import MARK, ROOT, config

pytestmark = [
    pytest.mark.slow,  # each job imports everything once more
    pytest.mark.skipif(not dist.is_gloo_available(), reason="needs the gloo backend"),
]
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
LONG = ("trainer.max_epochs=40", "method.delay=0.1", "method.dropout=0", "logger=csv")
COSTS = ("seconds", "cost/g_evaluations", "cost/jacobian_products")
ROWS = {
    "tiny": ("experiment=tiny/good", "method.dropout=0", "trainer.max_epochs=4", "logger.mode=offline"),
    "denoising": ("experiment=denoising/fpi_nn", "profile=smoke", "logger=csv"),
    "bibtex": ("experiment=bibtex/control", "profile=smoke", "logger=csv", "data.batch_size=7"),  # parts of 3 and 4
    "flow": ("experiment=flow-chairs/flownets_fpi", "profile=smoke", "logger=csv"),
}


def job_of(folder: Path) -> Path:
    (found,) = folder.rglob("config.yaml")
    return found.parent


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_TEST_PROCESS", str(os.getpid()))


def helpers() -> set[int]:
    """Process ids of the helpers that these tests have started."""
    mark = f"FPI_TEST_PROCESS={os.getpid()}\0".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"tasks.engine.helpers" in path.read_bytes() and mark in path.with_name("environ").read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition: object, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(condition())  # type: ignore[operator]


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    arguments = command("experiment=tiny/good", *LONG, *TWO, *more, f"results_dir={folder}")
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, cwd=ROOT, env=environ(), stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("row", ROWS)
def test_two_processes_have_the_curve_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str) -> None:
    for name, processes in (("one", ()), ("two", TWO)):
        result = run_job(config(*ROWS[row], *processes, f"results_dir={tmp_path / name}"))
        assert result["status"] == "done", result
        said = capsys.readouterr().out
        assert ("in 2 processes" in said) == (name == "two") and said.count("done ") == 1
    one, two = (store.load_run(job_of(tmp_path / name)) for name in ("one", "two"))
    assert one and two
    assert len(one.metrics) == len(two.metrics) >= 2
    for ours, theirs in zip(two.metrics, one.metrics, strict=True):
        assert ours.keys() == theirs.keys() and "train/loss" in ours
        for name in ours.keys() - set(COSTS):
            # a solve's last residual is what is left of numbers that agree
            tolerance = 1e-2 if name.endswith("residual") else 1e-5
            assert ours[name] == pytest.approx(theirs[name], rel=tolerance, abs=1e-12), name
    tested = [name for name in one.run["metrics"] if name.startswith("test/")]
    assert tested
    for name in tested:
        assert two.run["metrics"][name] == pytest.approx(one.run["metrics"][name], rel=1e-5), name
    weights = [torch.load(run.directory / "last.ckpt", weights_only=True)["state_dict"] for run in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)
    files = [{path.name for path in run.directory.iterdir()} - {"before-last.ckpt"} for run in (one, two)]
    tracked = [len(list((run.directory / "wandb").glob("offline-run-*"))) for run in (one, two)]
    assert tracked == ([1, 1] if row == "tiny" else [0, 0])
    assert files[0] == files[1] and not helpers() and not dist.is_initialized()


def test_a_killed_job_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path / "killed", "trainer.checkpoint_seconds=0")
    last = tmp_path / "killed/sample/tiny/good/seed0/last.ckpt"
    assert wait_for(last.exists) and helpers()
    with pytest.raises(ConfigError, match="is being written by another process"):
        run_job(config(*LONG, f"results_dir={tmp_path / 'killed'}"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert wait_for(lambda: not helpers(), 20), "a helper outlived its job"
    before = torch.load(last, weights_only=True)["epoch"]
    again = train("experiment=tiny/good", *LONG, *TWO, f"results_dir={tmp_path / 'killed'}")
    assert again.returncode == 0 and f"from epoch {before} in 2 processes" in again.stdout, again.stdout + again.stderr
    run_job(config(*LONG, f"results_dir={tmp_path / 'whole'}"))
    runs = [store.load_run(job_of(tmp_path / name)) for name in ("killed", "whole")]
    assert runs[0] and runs[1] and [row["epoch"] for row in runs[0].metrics] == list(range(1, 41))
    for ours, theirs in zip(runs[0].metrics, runs[1].metrics, strict=True):
        assert ours["train/loss"] == pytest.approx(theirs["train/loss"], rel=1e-5)


def test_a_loss_that_diverges_in_one_process_stops_all(tmp_path: Path) -> None:
    given = (
        "experiment=denoising/feedforward",
        "profile=smoke",
        "method._target_=tests.e2e.odd_ranks.DivergesInHelper",
    )
    result = run_job(config(*given, *TWO, "logger=csv", "trainer.max_epochs=3", f"results_dir={tmp_path}"))
    assert result["status"] == "done" and result["epochs"] == 2, result
    rows = store.read_csv(job_of(tmp_path) / "metrics.csv")
    assert [row["train/diverged"] for row in rows] == [0, 1] and rows[0]["val/psnr"] != rows[1]["val/psnr"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_ends_the_job_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "an-epoch-ended"))
    process = start(tmp_path, "trainer.checkpoint_seconds=1000")
    job = tmp_path / "sample/tiny/good/seed0"
    assert wait_for((tmp_path / "an-epoch-ended").exists)
    for one in [*helpers(), process.pid]:
        os.kill(one, signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (128 + signum if signum == signal.SIGTERM else 1), out + err
    assert not helpers() and not (job / "failed.json").exists() and not (job / "run.json").exists()
    assert (job / "last.ckpt").exists() == (signum == signal.SIGTERM)  # which asks for it


def test_a_process_that_is_killed_fails_the_job_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "an-epoch-ended"))
    process = start(tmp_path)
    assert wait_for((tmp_path / "an-epoch-ended").exists)
    (one,) = helpers()
    os.kill(one, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    failure = store.read_json(tmp_path / "sample/tiny/good/seed0/failed.json")
    assert process.returncode == 1 and failure
    assert failure["error"] == "HelperError: process 2 of 2 was killed by SIGKILL" and failure["error"] in err


def test_an_error_in_one_process_is_the_jobs(tmp_path: Path) -> None:
    result = run_job(config("method._target_=tests.e2e.odd_ranks.FailsInHelper", *TWO, f"results_dir={tmp_path}"))
    assert result["error"].startswith("HelperError: process 2 of 2 ended with status 1: ZeroDivisionError: asked to")
    assert "training_step" in result["traceback"] and not dist.is_initialized() and not helpers()
