"""One job: skipped when done, resumed exactly, refused over another config's results."""

from __future__ import annotations

import gc
import json
import os
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.engine import store
from tasks.engine.errors import ConfigError
from tasks.engine.job import run_job
from tests.e2e.tiny import TinyModule, config, failing


def run(folder: Path, *overrides: str) -> dict:
    return run_job(config(f"results_dir={folder}", *overrides))


def job(folder: Path, row: str = "good") -> Path:
    return folder / "sample" / "tiny" / row / "seed0"


def outcome(directory: Path) -> tuple[dict, list[dict], dict]:
    """All a job computed: metrics, history without times, final weights and optimiser states."""
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in store.read_csv(directory / "metrics.csv")]
    last = torch.load(directory / "last.ckpt", weights_only=True)
    return json.loads((directory / "run.json").read_text())["metrics"], history, last


def assert_same(one: Path, other: Path) -> None:
    metrics, history, last = outcome(one)
    metrics_2, history_2, last_2 = outcome(other)
    assert metrics == metrics_2 and history == history_2
    assert all(torch.equal(last["state_dict"][name], value) for name, value in last_2["state_dict"].items())
    moments = [state["optimizers"][0]["state"][0]["exp_avg_sq"] for state in (last, last_2)]
    assert torch.equal(*moments) and last["schedulers"] == last_2["schedulers"] and last["best"] == last_2["best"]
    assert last["optimizer_steps"] == last_2["optimizer_steps"] == 8 * 8


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder)["status"] == "done"
    return job(folder)


def test_a_finished_job_leaves_the_whole_record(undisturbed: Path) -> None:
    content = json.loads((undisturbed / "run.json").read_text())
    assert (content["task"], content["row"], content["seed"], content["data"]) == ("tiny", "good", 0, "tiny")
    assert content["epochs"] == 8 and content["g_evaluations"] == 64
    values = [row["val/loss"] for row in store.read_csv(undisturbed / "metrics.csv")]
    assert len(values) == 8
    assert content["best_epoch"] == values.index(min(values)) + 1
    assert content["metrics"]["test/loss"] == pytest.approx(
        min(values), rel=1e-5
    )  # the best epoch's weights are tested
    assert content["metrics"]["val/loss"] == values[-1]
    assert content["env"] == json.loads((undisturbed / "env.json").read_text())
    assert {"torch", "lightning"} <= content["env"]["packages"].keys()
    assert os.uname().nodename not in (undisturbed / "run.json").read_text()
    assert not list(undisturbed.glob(".*.tmp"))


def test_training_differs_by_seed(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path, "seed=1", "trainer.max_epochs=1")
    other = store.read_csv(tmp_path / "sample/tiny/good/seed1/metrics.csv")
    assert other[0]["train/loss"] != store.read_csv(undisturbed / "metrics.csv")[0]["train/loss"]


@pytest.mark.parametrize("epoch", [1, 3, 7])
def test_an_interrupted_job_ends_like_an_undisturbed_one(undisturbed: Path, tmp_path: Path, epoch: int) -> None:
    with failing(epoch):
        assert run(tmp_path)["status"] == "failed"
    assert torch.load(job(tmp_path) / "last.ckpt", weights_only=True)["epoch"] == epoch
    run(tmp_path)
    assert not (job(tmp_path) / "failed.json").exists()
    assert_same(job(tmp_path), undisturbed)


def test_a_job_stopped_between_training_and_test_is_not_trained_again(undisturbed: Path, tmp_path: Path) -> None:
    run(tmp_path)
    (job(tmp_path) / "run.json").unlink()
    with failing(0):  # any training step would fail
        assert run(tmp_path)["status"] == "done"
    assert_same(job(tmp_path), undisturbed)


@pytest.mark.parametrize(("damaged", "start"), [(1, "before it, epoch 3"), (2, "from the beginning")])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: int, start: str
) -> None:
    with failing(4):
        run(tmp_path)
    for name in ("last.ckpt", "before-last.ckpt")[:damaged]:
        content = bytearray((job(tmp_path) / name).read_bytes())
        weights = torch.load(job(tmp_path) / name, weights_only=True)["state_dict"]["net.0.weight"]
        content[content.index(weights.numpy().tobytes()) + 5] ^= 1  # one bit, which torch.load would take as it is
        (job(tmp_path) / name).write_bytes(content)
    run(tmp_path)
    text = capsys.readouterr().err
    assert text.count("cannot be read") == damaged and start in text
    assert_same(job(tmp_path), undisturbed)


def test_the_best_epoch_is_written_with_the_last(tmp_path: Path) -> None:
    with failing(4):
        run(tmp_path, "trainer.checkpoint_seconds=1000", "seed=1")
    later = tmp_path / "sample/tiny/good/seed1"
    assert not list(later.glob("*.ckpt"))  # after four epochs of which the first was a best one
    with failing(4):
        run(tmp_path)  # every epoch
    best, last = (torch.load(job(tmp_path) / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert last["epoch"] == 4 and last["best"][1] == best["epoch"] <= 4
    run(tmp_path, "trainer.checkpoint_seconds=1000", "seed=1")
    assert {path.name for path in later.glob("*.ckpt")} == {"best.ckpt", "last.ckpt"}


def test_a_damaged_best_checkpoint_is_named_with_the_fix(tmp_path: Path) -> None:
    run(tmp_path)
    for name in ("run.json", "best.ckpt"):
        (job(tmp_path) / name).unlink()
    (job(tmp_path) / "best.ckpt").write_bytes(b"x")
    result = run(tmp_path)
    assert "best.ckpt cannot be read" in result["error"] and "force=true" in result["hint"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    job(tmp_path).mkdir(parents=True)
    (job(tmp_path) / ".run.json.123.tmp").write_text("{")
    run(tmp_path, "trainer.max_epochs=1")
    assert not list(job(tmp_path).glob(".*.tmp"))


def test_a_checkpoint_of_other_code_is_an_error_with_the_fix(tmp_path: Path) -> None:
    with failing(2):
        run(tmp_path)
    path = job(tmp_path) / "last.ckpt"
    state = torch.load(path, weights_only=True)
    state["state_dict"]["net.0.weight"] = torch.zeros(3, 3)
    torch.save(state, path)
    result = run(tmp_path)
    assert result["error"].startswith("CheckpointError") and "force=true" in result["hint"]
    assert run(tmp_path, "force=true")["status"] == "done"


def test_a_finished_job_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path, "trainer.max_epochs=1")
    changed = (job(tmp_path) / "run.json").stat().st_mtime_ns
    capsys.readouterr()
    # neither the machine's settings nor the tracking change what is computed
    assert run(tmp_path, "trainer.max_epochs=1", "trainer.threads=null", "logger.project=other") == first
    text = capsys.readouterr().out
    assert text.startswith("skip") and text.count("\n") == 1
    assert (job(tmp_path) / "run.json").stat().st_mtime_ns == changed
    store.write_json(job(tmp_path) / "run.json", first | {"metrics": first["metrics"] | {"diverged": 1.0}})
    run(tmp_path, "trainer.max_epochs=1")
    assert capsys.readouterr().out.rstrip().endswith("done before, diverged")  # what it logged before says nothing


def test_another_configs_directory_is_refused_then_moved_aside(tmp_path: Path) -> None:
    run(tmp_path, "trainer.max_epochs=1")
    before = (job(tmp_path) / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=r"method.dropout: 0.5 -> 0.25") as refused:
        run(tmp_path, "trainer.max_epochs=1", "method.dropout=0.25")
    assert "force=true" in str(refused.value) and "max_epochs" not in str(refused.value)
    assert (job(tmp_path) / "run.json").read_bytes() == before
    run(tmp_path, "trainer.max_epochs=1", "method.dropout=0.25", "force=true")
    assert (job(tmp_path) / "run.json").read_bytes() != before
    (aside,) = job(tmp_path).parent.glob("seed0.old-*")
    assert (aside / "run.json").read_bytes() == before
    assert len(store.load_runs(tmp_path, "sample", "tiny")[0]) == 1


def test_protocols_have_their_own_directories(tmp_path: Path) -> None:
    for protocol in ("paper", "honest"):
        run(tmp_path, f"protocol={protocol}", "trainer.max_epochs=1")
    runs, failed = store.load_runs(tmp_path, "sample", "tiny")
    assert not failed
    assert {(r.directory.parent.name, r.protocol) for r in runs} == {("good", "paper"), ("good-honest", "honest")}


@pytest.mark.parametrize("status", ["done", "failed"])
def test_a_job_that_has_ended_gives_its_memory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    kept = []
    build = TinyModule.__init__

    def init(self: TinyModule, *arguments: Any, **options: Any) -> None:
        build(self, *arguments, **options)
        kept.append(weakref.ref(self))

    monkeypatch.setattr(TinyModule, "__init__", init)
    wrong = ["method.fail_at=0"] if status == "failed" else []
    gc.disable()  # of itself it comes too late, or just in time
    try:
        result = run(tmp_path, "logger=csv", "trainer.max_epochs=1", *wrong)
        left = [module() for module in kept]
    finally:
        gc.enable()
    assert result["status"] == status and left == [None]


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    job(tmp_path).mkdir(parents=True)
    with store.exclusive(job(tmp_path)) as free, pytest.raises(ConfigError, match="another process"):
        assert free
        run(tmp_path)


def test_metrics_that_were_not_logged_again_are_left_empty(tmp_path: Path) -> None:
    run(tmp_path, "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2")
    rows = store.read_csv(job(tmp_path) / "metrics.csv")
    assert ["val/loss" in row for row in rows] == [False, True, False, True]
    assert all("train/loss" in row and "cost/g_evaluations" in row for row in rows)


def test_a_monitor_that_nobody_logs_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, "select.monitor=val/f1")
    assert "select.monitor=val/f1 was not logged" in result["error"] and "val/loss" in result["error"]


def test_artifacts_are_written_and_the_last_epoch_is_used_without_a_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(TinyModule, "artifacts", lambda self, directory: seen.append(directory), raising=False)
    result = run(tmp_path, "select.monitor=null", "trainer.max_epochs=2")
    assert seen == [job(tmp_path)]
    assert "test/loss" not in result["metrics"] and result["best_epoch"] is None
    assert not (job(tmp_path) / "best.ckpt").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=-1"], "seed=-1 is not valid"),
        (["seed=1.5"], "seed=1.5 is not valid"),
        (["protocol=papr"], "protocol='papr' is not valid for tiny: expected none or paper or honest"),
        (["row=a/b"], "row='a/b' is not valid"),
        (["row=a-honest"], "use protocol=honest"),
        (["row=???"], "Mandatory key without a value: row"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0 is not valid"),
        (["trainer.devices=0"], "trainer.devices=0 is not valid: expected an integer of at least 1"),
        (["trainer.devices=auto"], "trainer.devices='auto' is not valid"),
        (["select.mode=most"], "select.mode='most' is not valid"),
        (["logger.mode=maybe"], "logger.mode=maybe is not one of"),
        (["data.seed=${seeed}"], "data.seed cannot be resolved"),
        (["~method"], "method._target_ is missing"),
    ],
)
def test_bad_configs_are_refused_before_anything_is_written(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run(tmp_path, *overrides)
    assert message in str(refused.value)
    assert not list(tmp_path.iterdir())
