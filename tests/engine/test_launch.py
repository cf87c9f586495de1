"""How a command ends: one paragraph and a status, or the whole traceback when it is asked for or nobody foresaw it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException

from tasks.engine.cli import exit_with
from tasks.engine.errors import ConfigError
from tasks.engine.launch import _check_form, _check_profiles, explain, launch
from tasks.engine.store import ROOT


class TerminatedWorkerError(Exception):
    """Named like joblib's."""


def raising(error: BaseException) -> Callable[..., int]:
    def main(*_: Sequence[str]) -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ConfigError("seed=-1 is not valid"), 1, "error: seed=-1 is not valid"),
        (PermissionError(13, "Permission denied", "/x/outputs"), 1, "error: Permission denied: /x/outputs. "),
        (KeyboardInterrupt(), 130, "the same command goes on"),
        (TerminatedWorkerError("SIGKILL"), 1, "hydra.launcher.n_jobs=1"),
    ],
)
def test_foreseen_errors_end_with_a_message_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as ended:
        launch(raising(error))
    assert ended.value.code == status and message in capsys.readouterr().err


def test_unforeseen_errors_and_full_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(ZeroDivisionError):
        launch(raising(ZeroDivisionError()))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigError):
        launch(raising(ConfigError("x")))


@pytest.mark.parametrize(("error", "status"), [(ConfigError("x"), 1), (OSError("x"), 1), (KeyboardInterrupt(), 130)])
def test_scripts_without_hydra_end_alike(error: BaseException, status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with(raising(error))
    assert ended.value.code == status


def test_a_full_disk_is_said_with_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exit_with(raising(OSError(errno.ENOSPC, "cannot write figures.json: No space left on device")))
    assert capsys.readouterr().err.startswith(
        "error: cannot write figures.json: No space left on device\n  No room left"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=toy/box", "profile=train400"],
        ["--multirun", "experiment=denoising/nlm,toy/box", "profile=sample,train400"],
        ["reproduce=toy", "profile=train400"],
        ["reproduce=toy_more_seeds", "profile=train400"],
    ],
)
def test_a_profile_of_another_task_is_refused(arguments: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"profile=train400: toy has no such profile. There are: smoke, sample, paper"
    ):
        _check_profiles(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=denoising/nlm,restoration/tv", "profile=sample,train400"],
        ["reproduce=classification", "profile=mnist"],
        ["experiment=toy/box", "profile=choice(smoke,sample)"],
        ["experiment=toy/box", "profile=mine", "--config-dir", "elsewhere"],
        ["experiment=tiny/good", "profile=train400"],
        [],
    ],
)
def test_other_profiles_are_left_to_hydra(arguments: list[str]) -> None:
    _check_profiles(arguments)


@pytest.mark.parametrize(
    ("missing", "said", "unsaid"),
    [
        ("experiment/bibtex/fpi_n", "Did you mean bibtex/fpi_nn? There are: bibtex/control, ", "toy"),
        ("experiment/toy", "There are: toy/box, ", "bibtex"),
        ("experiment/spring/x", "There are: bibtex/..., classification-cifar10/..., ", "fpi_nn"),
        ("profile/smok", "Did you mean smoke? There are: ", "task/"),
    ],
)
def test_what_there_is_instead_is_short(missing: str, said: str, unsaid: str) -> None:
    text = explain(MissingConfigException("", missing))
    assert said in text and unsaid not in text.partition("There are")[2]


def test_nothing_of_hydras_is_left_where_a_command_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        hydra = compose("train", ["experiment=toy/box"], return_hydra_config=True).hydra
    assert Path(hydra.run.dir) == Path(".") and hydra.output_subdir is None and "handlers" not in hydra.job_logging
    assert Path(hydra.sweep.dir).resolve() == ROOT / "outputs"  # a sweep's multirun.yaml cannot be switched off


@pytest.mark.parametrize("given", ["method=3", "data=1e-5", "experiment=true", "solver=-3"])
def test_a_number_names_no_file_of_configs(given: str) -> None:
    group, _, value = given.partition("=")
    with pytest.raises(MissingConfigException) as raised:
        _check_form(["profile=smoke", given])
    assert explain(raised.value).startswith(f"{given}: there is no such {group}. ")
    _check_form([f"method.{group}={value}", f"{group}=null", "seed=3"])
