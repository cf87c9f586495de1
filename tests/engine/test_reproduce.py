"""Which profile a reproduction takes, and which sweeps it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import data, fetch, profiles, reproduce, store
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


def test_a_dry_run_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "locate", missing)
    monkeypatch.setattr(fetch, "fetch", lambda name: pytest.fail("a download was started"))
    assert reproduce.choose_profile("bibtex", None, download=False) == (
        "paper",
        "`make data-bibtex` downloads the data",
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


def test_further_seeds_and_rows_are_not_run_on_samples() -> None:
    assert reproduce.sweeps("bibtex", "paper", {}) == ["bibtex", "bibtex_more_seeds"]
    assert reproduce.sweeps("bibtex", "paper", {"seed": "0"}) == ["bibtex"]
    assert reproduce.sweeps("bibtex", "sample", {}) == ["bibtex"]
    assert reproduce.sweeps("denoising", "train400", {}) == ["denoising", "denoising_sensitivity"]


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
