"""The doctor: what it finds, what it says can run, and that it shows no secret and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.engine import data, doctor, store
from tasks.engine.errors import ConfigError


def test_a_healthy_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789secret")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert doctor.main([f"results_dir={tmp_path / 'new'}"]) == 0
    text = capsys.readouterr().out
    assert not list(tmp_path.iterdir()) and "secret" not in text
    lines = [line.split() for line in text.splitlines()]
    states = {line[1]: line[0] for line in lines if len(line) > 1}
    assert {states[name] for name in ("torch", "fpi", "results", "cpu", "W&B")} == {"ok"}
    assert ["bibtex", "smoke", "yes"] in [line[:3] for line in lines]


def test_a_broken_core_and_a_place_that_cannot_be_written_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("fpi.FPILayer", lambda *_, **__: 1 / 0)
    assert doctor.main([f"results_dir={tmp_path}"]) == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert len(errors) == 2 and "ZeroDivisionError" in errors[0] and "choose results_dir=" in errors[1]


def test_a_task_without_its_data_or_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "is_available", lambda name: name == "train400")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = {tuple(line[:2]): line[2] for line in doctor._what_runs(store.ROOT / "results")}
    assert found["bibtex", "paper"] == "needs the data 'bibtex'"
    assert found["denoising", "train400"] == "yes, but it takes hours without a GPU"
    assert found["denoising", "sample"] == found["toy", "paper"] == "yes"
    assert found["flow-chairs", "paper"] == "with the data got by hand: tasks/flow/README.md"


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="usage"):
        doctor.main(["bibtex"])
