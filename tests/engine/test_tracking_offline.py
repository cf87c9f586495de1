"""What a real offline run holds, and what a server that fails does to a job: nothing, and little time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.engine import paper, store, sync, tracking
from tasks.engine.errors import ConfigError
from tasks.engine.job import run_job
from tests.e2e.tiny import CONFIGS, ROOT, TinyModule, config, failing
from tests.engine.wandb_file import offline_runs
from tests.engine.wandb_server import Failure, Server, until

KEY = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_BASE_URL", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(tracking.ANNOUNCED, "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("_failed", "_unreachable"):
        monkeypatch.setattr(tracking, name, False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that takes everything, and a login to it."""
    running = Server()
    monkeypatch.setenv("WANDB_BASE_URL", running.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield running
    running.close()


def job(folder: Path, seed: int = 0) -> Path:
    return folder / f"sample/tiny/good/seed{seed}"


def run(folder: Path, mode: str, *overrides: str) -> dict[str, Any]:
    return run_job(config(f"results_dir={folder}", f"logger.mode={mode}", "trainer.max_epochs=3", *overrides))


def test_an_offline_run_holds_config_metrics_table_images_and_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def artifacts(self: TinyModule, directory: Path) -> dict[str, Path]:
        Image.new("L", (4, 6), 99).save(directory / "picture.png")
        return {"an example": directory / "picture.png"}

    monkeypatch.setattr(TinyModule, "artifacts", artifacts, raising=False)
    monkeypatch.setattr(paper, "numbers", lambda *_: {"paper/test/loss": 0.5})
    result = run(tmp_path, "offline", "protocol=paper")
    (offline,) = offline_runs(job(tmp_path))
    assert (offline.run.run_group, offline.run.job_type, offline.run.display_name) == ("tiny", "good", "good/seed0")
    assert list(offline.run.tags) == ["table0", "sample", "paper"] and offline.run.project == "fpi"
    assert offline.config["method"]["dropout"] == 0.5 and offline.config["seed"] == 0
    rows = store.read_csv(job(tmp_path) / "metrics.csv")
    assert offline.logged("epoch")[:3] == [1, 2, 3]
    for name in ("train/loss", "val/loss", "cost/g_evaluations"):
        assert offline.logged(name) == pytest.approx([row[name] for row in rows])
    assert offline.step_metrics["*"] == "epoch"
    assert offline.summary["test/loss"] == result["metrics"]["test/loss"] and offline.exit_code == 0
    assert offline.summary["paper/test/loss"] == 0.5  # beside ours
    with Image.open(offline.media("an example")) as picture:
        assert picture.size == (4, 6)
    table = json.loads(offline.media("results").read_text())
    assert table["columns"] == ["metric", "ours", "paper"]
    assert ["test/loss", result["metrics"]["test/loss"], 0.5] in table["data"]


def test_a_failed_job_is_a_failed_run(tmp_path: Path) -> None:
    run(tmp_path, "offline", "method.fail_at=1")
    (offline,) = offline_runs(job(tmp_path))
    assert offline.exit_code == 1 and len(offline.history) == 1


def test_no_credential_is_in_any_file_or_line_of_a_job(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "online")
    run(tmp_path, "offline", "seed=1")
    with failing(1):
        run(tmp_path, "offline", "seed=2")
    assert server.runs  # it was used
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    output = capsys.readouterr()
    assert KEY not in output.out + output.err


def train(folder: Path, *overrides: str) -> tuple[str, list[dict[str, Any]]]:
    """Two jobs of one process of their own (W&B's service outlives a run), and what they said."""
    given = [
        "hydra.mode=MULTIRUN",
        "experiment=tiny/good",
        "seed=0,1",
        "trainer.max_epochs=3",
        "logger.mode=online",
        *overrides,
    ]
    command = [sys.executable, "scripts/train.py", "--config-dir", str(CONFIGS), f"results_dir={folder}", *given]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr, [json.loads((job(folder, seed) / "run.json").read_text()) for seed in (0, 1)]


@pytest.mark.parametrize("failure", ["refused", "500", "slow"])
def test_a_server_that_does_not_answer_costs_seconds_once(tmp_path: Path, server: Server, failure: Any) -> None:
    if failure == "refused":
        server.close()
    else:
        server.failure = failure
    started = time.monotonic()
    assert not tracking.reachable()
    assert time.monotonic() - started < tracking.REACH_SECONDS + 5
    said, runs = train(tmp_path)
    assert said.count("does not answer") == 1
    for seed, content in enumerate(runs):
        assert content["status"] == "done"
        (offline,) = offline_runs(job(tmp_path, seed))  # kept, to be uploaded later
        assert len(offline.logged("train/loss")) == 3 and offline.exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["500", "slow"])
def test_a_server_that_fails_during_a_job_leaves_it_whole(tmp_path: Path, server: Server, failure: Failure) -> None:
    server.fails_later = failure
    started = time.monotonic()
    said, runs = train(tmp_path)
    assert time.monotonic() - started < 3 * tracking.FINISH_SECONDS + 60
    assert said.count("runs are kept offline") == 1
    assert [content["status"] for content in runs] == ["done", "done"]
    assert len(offline_runs(job(tmp_path, 1))) == 1  # the second job did not wait for the server again
    pending = sync.pending(tmp_path)
    assert [path.name.startswith("run-") for path in pending] == [True, False]  # nothing of the first is lost
    server.failure = server.fails_later = None
    assert sync.main([f"results_dir={tmp_path}"]) == 0 and sync.pending(tmp_path) == []


LOGGING = """
import json, os, sys, time
from pathlib import Path
from tasks.engine.config import resolve
from tasks.engine.tracking import Tracker
from tests.e2e.tiny import config

tracker = Tracker(resolve(config()), Path(sys.argv[1]), "online")
assert tracker.online
seconds = []
for epoch in range(200):
    started = time.perf_counter()
    tracker.log({"epoch": epoch, "train/loss": 1.0})
    seconds.append(time.perf_counter() - started)
    time.sleep(0.01)
print(json.dumps(sorted(seconds)), flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["500", "slow"])
def test_an_epoch_does_not_wait_for_a_server_that_fails(tmp_path: Path, server: Server, failure: Failure) -> None:
    server.fails_later = failure
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOGGING, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    seconds = json.loads(done.stdout.splitlines()[-1])
    assert server.runs and seconds[100] < 0.002  # 2 % of an epoch of a tenth of a second
    assert seconds[-1] < 1.0  # on a busy machine; an answer takes the server a minute


def test_sync_uploads_in_start_order_and_once(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with failing(2):
        run(tmp_path, "offline", "seed=1")  # starts first, and is interrupted
    time.sleep(1.1)  # the names of the runs count seconds
    run(tmp_path, "offline", "seed=0")
    time.sleep(1.1)
    run(tmp_path, "offline", "seed=1")
    ids = [(job(tmp_path, seed) / "wandb_id").read_text() for seed in (1, 0)]
    capsys.readouterr()
    assert sync.main(["--dry-run", f"results_dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["upload", "upload", "append", "3"] and not server.runs
    assert sync.main([f"results_dir={tmp_path}"]) == 0
    assert "3 runs uploaded" in capsys.readouterr().out
    assert until(lambda: server.runs == ids), server.runs
    assert "RunResumeStatus" in server.names  # appended, not replaced
    assert sync.pending(tmp_path) == []
    assert sync.main([f"results_dir={tmp_path}"]) == 0 and "0 runs uploaded" in capsys.readouterr().out


def test_sync_leaves_a_running_job_and_says_what_it_needs(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "offline")
    with store.exclusive(job(tmp_path)):
        assert sync.pending(tmp_path) == [] and "is running" in capsys.readouterr().err
    server.failure = "500"
    with pytest.raises(ConfigError, match="does not answer"):
        sync.main([f"results_dir={tmp_path}"])
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match="wandb login"):
        sync.main([f"results_dir={tmp_path}"])
