"""Which profile a reproduction takes, and which sweeps it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import data, fetch, profiles, reproduce, store, tracking
from tasks.engine.cli import task_names
from tasks.engine.errors import ConfigError


def missing(name: str, **_: object) -> Path:
    raise data.DataNotFoundError(f"data '{name}' not found\n  in data/: no such file")


def no_network(name: str) -> Path:
    raise fetch.DataFetchError("cannot reach the server\n  details")


def test_what_was_asked_for_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "locate", missing)
    assert reproduce.choose_profile("bibtex", "smoke")[0] == "smoke"
    with pytest.raises(
        ConfigError, match="bibtex has no such profile. Did you mean paper. There are: smoke, sample, paper"
    ):
        reproduce.choose_profile("bibtex", "papr")


def test_data_decide_between_paper_and_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "locate", lambda name: tmp_path)
    assert reproduce.choose_profile("bibtex", None) == ("paper", f"the data are in {tmp_path}")
    monkeypatch.setattr(data, "locate", missing)
    monkeypatch.setattr(fetch, "fetch", lambda name: tmp_path)
    assert reproduce.choose_profile("bibtex", None)[0] == "paper"
    monkeypatch.setattr(fetch, "fetch", no_network)
    profile, reason = reproduce.choose_profile("bibtex", None)
    assert profile == "sample" and "SAMPLE DATA" in reason and "cannot reach the server" in reason
    assert "make data-bibtex" in reason and "details" not in reason


def test_a_task_may_need_other_data_a_profile_and_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def only_train400(name: str) -> Path:
        return tmp_path if name == "train400" else missing(name)

    monkeypatch.setattr(data, "locate", only_train400)
    monkeypatch.setattr(reproduce, "_has_gpu", lambda: True)
    assert reproduce.choose_profile("denoising", None) == ("train400", f"the data are in {tmp_path}")
    monkeypatch.setattr(reproduce, "_has_gpu", lambda: False)
    profile, reason = reproduce.choose_profile("denoising", None)
    assert profile == "sample" and "PROFILE=train400 runs it" in reason


def test_a_profile_of_another_task_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a job was started"))
    for given in (["profile=shapes"], ["profile=shapes", "--dry-run"]):
        with pytest.raises(ConfigError, match="classification has no such profile.* There are: .* mnist, paper"):
            reproduce.main(["classification", *given])


def test_a_row_is_chosen_by_its_experiment() -> None:
    with pytest.raises(
        ConfigError, match="row=simplex would name every job.*: rows are chosen by experiment=toy/simplex"
    ):
        reproduce.main(["toy", "row=simplex", "--dry-run"])


def test_data_of_the_same_content_stand_in_for_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def one_file(name: str, **_: object) -> Path:
        return tmp_path if name == "mnist-npz" else missing(name)

    monkeypatch.setattr(data, "locate", one_file)
    assert profiles.data_needed("classification") == {"paper": "mnist-npz", "mnist": "mnist-npz"}
    reproduce.check_data("classification", "paper")
    monkeypatch.setattr(data, "locate", missing)
    assert profiles.data_needed("classification") == {"paper": "mnist", "mnist": "mnist"}
    with pytest.raises(ConfigError, match="profile=mnist cannot run: data 'mnist' not found"):
        reproduce.check_data("classification", "mnist")


def test_a_dry_run_downloads_nothing_and_says_what_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "locate", missing)
    monkeypatch.setattr(fetch, "fetch", lambda name: pytest.fail("a download was started"))
    assert reproduce.choose_profile("bibtex", None, download=False) == (
        "paper",
        "if the download of bibtex succeeds, as the real run tries; else profile=sample",
    )


def test_data_that_only_a_gpu_could_use_are_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "locate", missing)
    monkeypatch.setattr(reproduce, "_has_gpu", lambda: False)
    monkeypatch.setattr(fetch, "fetch", lambda name: pytest.fail("a download was started"))
    profile, reason = reproduce.choose_profile("classification-svhn", None)
    assert profile == "sample" and "profile=paper takes hours without a GPU" in reason


def test_a_large_download_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(data, "locate", missing)
    monkeypatch.setattr(reproduce, "_has_gpu", lambda: True)
    monkeypatch.setattr(fetch, "fetch", lambda name: asked.append(name) or no_network(name))
    profile, reason = reproduce.choose_profile("denoising", None)
    assert asked == ["train400"] and profile == "sample"
    assert "make data-flyingchairs" in reason and "cannot reach the server" in reason


def test_data_that_are_missing_are_said_once_and_not_by_every_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(data, "locate", missing)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a job was started"))
    with pytest.raises(ConfigError, match="profile=paper cannot run: data 'bibtex' not found"):
        reproduce.main(["bibtex", "profile=paper", f"results_dir={tmp_path}"])
    reproduce.check_data("bibtex", "sample")
    with pytest.raises(
        ConfigError, match="data 'flyingchairs' not found(.|\n)*choose profile=train400, profile=sample"
    ):
        reproduce.check_data("denoising", "paper")


def test_a_task_without_data_takes_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "locate", missing)
    assert reproduce.choose_profile("toy", None)[0] == "paper"


def test_data_got_by_hand_are_chosen_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    profile, reason = reproduce.choose_profile("flow-chairs", None)
    assert profile == "sample" and "SAMPLE DATA" in reason and "tasks/flow/README.md" in reason


@pytest.mark.parametrize("dry", [True, False])
def test_the_rows_that_a_sample_run_leaves_out_are_said_with_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dry: bool
) -> None:
    started: list[str] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess:
        started.append(command[2])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(reproduce, "_dry_run", lambda commands, _: started.extend(c[0] for c in commands) or 0)
    monkeypatch.setattr(store, "load_runs", lambda *_: ([object()], []))
    monkeypatch.setattr(reproduce.report, "build", lambda *_: None)
    monkeypatch.setattr(tracking, "announce", lambda *_: None)
    given = ["denoising", "profile=sample", f"results_dir={tmp_path}", *(["--dry-run"] if dry else [])]
    hint = "make reproduce-denoising PROFILE=sample ARGS=more=true"
    assert reproduce.main(given) == 0 and hint in capsys.readouterr().out
    assert reproduce.main([*given, "more=true"]) == 0 and hint not in capsys.readouterr().out
    assert started == ["reproduce=denoising"] * 2 + ["reproduce=denoising_sensitivity"]


def test_all_stands_for_every_task_and_goes_on_after_one_that_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "locate", missing)
    planned: list[str] = []
    monkeypatch.setattr(reproduce, "_dry_run", lambda commands, _: planned.append(commands[0][0]) or 0)
    assert reproduce.main(["all", "--dry-run", "profile=sample"]) == 0
    assert planned == [f"reproduce={task}" for task in task_names()]
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    monkeypatch.setattr(store, "load_runs", lambda *_: ([], []))
    capsys.readouterr()
    assert reproduce.main(["all", "profile=paper", "logger=csv", f"results_dir={tmp_path}"]) == 1
    said = capsys.readouterr()
    assert "data 'bibtex' not found" in said.err and "toy (9 of 10)" in said.out and "no job of vae ran" not in said.err


@pytest.mark.parametrize(("finished", "train_status", "status"), [(True, 0, 0), (True, 1, 1), (False, 1, 1)])
def test_the_first_line_is_the_profile_and_the_status_is_that_of_the_jobs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    finished: bool,
    train_status: int,
    status: int,
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess:
        commands.append(command)
        return subprocess.CompletedProcess(command, train_status)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(store, "load_runs", lambda *_: ([object()], []) if finished else ([], []))
    built = []
    monkeypatch.setattr(reproduce.report, "build", lambda *arguments: built.append(arguments))
    given = ["toy", "profile=smoke", f"results_dir={tmp_path}", "trainer.max_epochs=1"]
    assert reproduce.main(given) == status
    assert capsys.readouterr().out.startswith("profile=smoke: as asked\n")
    (command,) = commands
    assert command[1:] == [
        *("scripts/train.py", "reproduce=toy", "profile=smoke", "seed=0"),
        *(f"results_dir={tmp_path}", "trainer.max_epochs=1"),
    ]
    assert built == ([("toy", "smoke", tmp_path)] if finished else [])


def test_a_failed_job_makes_the_whole_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(store, "load_runs", lambda *_: ([object()], [{"row": "x"}]))
    monkeypatch.setattr(reproduce.report, "build", lambda *_: None)
    assert reproduce.main(["toy", "profile=smoke", f"results_dir={tmp_path}"]) == 1
