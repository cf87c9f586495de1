"""W&B: the mode is decided before the first init, and no error of W&B stops a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image

from tasks.engine import tracking
from tasks.engine.config import resolve
from tasks.engine.errors import ConfigError
from tasks.engine.job import run_job
from tests.e2e.tiny import config


@pytest.fixture(autouse=True)
def nobody_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", tracking.ANNOUNCED):
        monkeypatch.setenv(name, "")  # undone after the test, also where the code sets it
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(tracking, "_failed", False)


def test_auto_is_online_with_a_login_and_offline_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.decide("auto")[0] == "offline"
    (tmp_path / "netrc").write_text("machine example.org login user password secret\n")
    assert tracking.decide("auto")[0] == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert tracking.decide("auto")[0] == "online"
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert tracking.decide("auto")[0] == "online"


@pytest.mark.parametrize(("wish", "mode"), [("offline", "offline"), ("disabled", "off"), ("online", "online")])
def test_wandb_mode_decides_auto_only(monkeypatch: pytest.MonkeyPatch, wish: str, mode: str) -> None:
    monkeypatch.setenv("WANDB_MODE", wish)
    assert tracking.decide("auto") == (mode, f"WANDB_MODE={wish}")
    assert tracking.decide("off")[0] == "off"


def test_online_without_a_login_names_the_fix() -> None:
    with pytest.raises(ConfigError, match="wandb login"):
        tracking.decide("online")


def test_the_mode_is_said_once_for_all_processes(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        tracking.announce("offline", "not logged in")
    assert capsys.readouterr().out.count("\n") == 1


class FakeRun:
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.summary: dict[str, Any] = {}
        self.defined: list[tuple] = []
        self.exit_code: int | None = None

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.defined.append((name, step_metric))

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def test_a_job_is_one_run_with_its_group_tags_config_and_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    fake = FakeRun()
    monkeypatch.setattr(wandb, "init", lambda **arguments: given.append(arguments) or fake)
    result = run_job(config(f"results_dir={tmp_path}", "logger.mode=offline", "trainer.max_epochs=2", "protocol=paper"))
    (arguments,) = given
    assert (arguments["group"], arguments["job_type"], arguments["name"]) == ("tiny", "good", "good/seed0")
    assert arguments["tags"] == ["table0", "sample", "paper"] and arguments["reinit"] == "finish_previous"
    assert arguments["config"]["data"]["seed"] == 0 and arguments["mode"] == "offline"
    assert fake.defined == [("epoch", None), ("*", "epoch")]
    *epochs, table = fake.rows
    assert [row["epoch"] for row in epochs] == [1, 2] and "val/loss" in epochs[0] and list(table) == ["results"]
    assert fake.summary == result["metrics"] and fake.exit_code == 0


def test_pictures_of_a_job_are_logged_as_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun()
    monkeypatch.setattr(wandb, "init", lambda **_: fake)
    path = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(path)
    cfg = config(f"results_dir={tmp_path}", "logger.mode=offline")
    tracker = tracking.Tracker(resolve(cfg), tmp_path, "offline")
    tracker.images({})
    tracker.images({"an example": path})
    (row,) = fake.rows
    assert isinstance(row["an example"], wandb.Image)
    tracker.images({"missing": tmp_path / "none.png"})  # one warning, and the job goes on
    assert tracker.run is None


def test_a_failed_job_is_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRun()
    monkeypatch.setattr(wandb, "init", lambda **_: fake)
    run_job(config(f"results_dir={tmp_path}", "logger.mode=offline", "method.fail_at=0"))
    assert fake.exit_code == 1


@pytest.mark.parametrize("broken", ["init", "log"])
def test_an_error_of_wandb_is_one_warning_and_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    calls = []

    def init(**_: Any) -> FakeRun:
        calls.append(1)
        if broken == "init":
            raise wandb.errors.CommError("no network")
        fake = FakeRun()
        fake.rows = None  # type: ignore[assignment]  # logging fails
        return fake

    monkeypatch.setattr(wandb, "init", init)
    for seed in (0, 1):
        job = config(f"results_dir={tmp_path}", "logger.mode=offline", "trainer.max_epochs=2", f"seed={seed}")
        assert run_job(job)["status"] == "done"
    assert capsys.readouterr().err.count("W&B could not") == 1
    assert len(calls) == 1  # the second job does not wait for another failure


def test_a_resumed_job_keeps_its_wandb_id(tmp_path: Path) -> None:
    first = tracking._run_id(tmp_path)
    assert tracking._run_id(tmp_path) == first and first.isalnum()
