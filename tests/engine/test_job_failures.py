"""A job that fails: recorded with its traceback, said once a sweep, and nothing computed before is lost."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.engine.errors import ConfigError
from tasks.engine.launch import LAUNCH
from tests.e2e.tiny import TinyModule, failing
from tests.engine.test_job import job, run


def test_a_failure_is_recorded_with_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path, "row=bad", "method.fail_at=0")
    assert result == json.loads((job(tmp_path, "bad") / "failed.json").read_text())
    assert result["error"] == "ZeroDivisionError: asked to fail" and "training_step" in result["traceback"]
    text = capsys.readouterr().err
    assert "asked to fail" in text and "failed.json" in text and "training_step" not in text


def _raising(error: Exception) -> Callable[..., None]:
    def method(*_: object) -> None:
        raise error

    return method


def test_jobs_of_one_command_say_the_same_error_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*overrides: str) -> tuple[str, str]:
        run(tmp_path, "row=bad", "method.fail_at=0", *overrides)
        return capsys.readouterr()

    monkeypatch.setenv(LAUNCH, "one")
    assert "asked to fail" in said("seed=0").err
    again = said("seed=1")
    assert not again.err and "tiny bad seed 1 (sample) failed like bad/seed0" in again.out
    assert (tmp_path / "sample/tiny/bad/seed1/failed.json").is_file()
    assert "dropout probability" in said("seed=2", "method.dropout=2.0").err  # another error
    for seed, full in (3, "a"), (4, "another"):  # a full disk names another file in every job
        monkeypatch.setattr(TinyModule, "configure_optimizers", _raising(OSError(errno.ENOSPC, f"cannot write {full}")))
        output = said(f"seed={seed}")
    assert not output.err and "tiny bad seed 4 (sample) failed like bad/seed3" in output.out
    monkeypatch.undo()
    monkeypatch.setenv(LAUNCH, "two")
    assert "asked to fail" in said("seed=1").err


def test_a_constructors_error_is_shown_without_hydras_wrapper(tmp_path: Path) -> None:
    result = run(tmp_path, "method.dropout=2.0")
    assert result["error"].startswith("ValueError: dropout probability")


def test_a_corrected_value_takes_the_place_of_a_failure(tmp_path: Path) -> None:
    for wrong in ("trainer.precision=foo", "method.fail_at=0"):  # before training, and in its first epoch
        assert run(tmp_path, wrong, "logger.mode=offline")["status"] == "failed"
    first = (job(tmp_path) / "wandb_id").read_text()
    assert run(tmp_path, "trainer.max_epochs=1", "logger.mode=offline")["status"] == "done"
    assert not (job(tmp_path) / "failed.json").exists()
    assert "fail_at: null" in (job(tmp_path) / "config.yaml").read_text()
    assert (job(tmp_path) / "wandb_id").read_text() != first  # another config is another run of W&B


@pytest.mark.parametrize("name", ["last.ckpt", "before-last.ckpt", "best.ckpt", "metrics.csv", "notes.txt"])
def test_what_was_computed_before_a_failure_is_protected(tmp_path: Path, name: str) -> None:
    run(tmp_path, "trainer.precision=foo")
    (job(tmp_path) / name).touch()
    with pytest.raises(ConfigError, match="trainer.precision: foo -> 32-true(.|\n)*choose another row="):
        run(tmp_path)
    assert (job(tmp_path) / "failed.json").exists()


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "seed=1", "trainer.max_epochs=1")
    kept = (tmp_path / "sample/tiny/good/seed1/run.json").read_bytes()
    with failing(4):
        run(tmp_path)
    checkpoint = (job(tmp_path) / "last.ckpt").read_bytes()
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "last.ckpt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    result = run(tmp_path)
    assert "No space left on device" in result["error"] and "last.ckpt" in result["error"]
    assert "free space" in result["hint"]
    assert (job(tmp_path) / "last.ckpt").read_bytes() == checkpoint
    assert not list(job(tmp_path).glob(".*.tmp"))
    assert (tmp_path / "sample/tiny/good/seed1/run.json").read_bytes() == kept
    monkeypatch.setattr(os, "replace", replace)
    assert run(tmp_path)["status"] == "done"
