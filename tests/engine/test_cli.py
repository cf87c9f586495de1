"""The words that stand for a task."""

from __future__ import annotations

import pytest

from scripts import new_task
from tasks.engine import cli, compare, dashboard, doctor, report, report_cli, reproduce, sync
from tasks.engine.errors import ConfigError
from tasks.engine.store import ROOT


def test_a_packages_name_stands_for_its_tasks_unless_it_is_a_task() -> None:
    assert cli.groups() == {"flow": ["flow-chairs", "flow-sintel"]}  # classification is MNIST's
    assert report_cli.SCRIPT.parse_task(["flow", "profile=smoke"]) == ("flow", {"profile": "smoke"})
    with pytest.raises(ConfigError, match="unknown task 'flows'.* flow, flow-chairs, flow-sintel,"):
        reproduce.SCRIPT.parse_task(["flows"])


SCRIPTS = {
    "compare.py": (compare, "to=results/compare.html"),
    "dashboard.py": (dashboard, "entity=NAME"),
    "doctor.py": (doctor, "results_dir=results"),
    "new_task.py": (new_task, "NAME"),
    "report.py": (report_cli, "--publish"),
    "reproduce.py": (reproduce, "--dry-run"),
    "sync.py": (sync, "--dry-run"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_has_a_line_a_key_and_unknown_options_are_refused_as_such(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, written = SCRIPTS[name]
    for argument in ("-h", "--help"):
        with pytest.raises(SystemExit) as ended:
            module.main(["toy", argument])
        assert not ended.value.code
    _, usage, *lines = capsys.readouterr().out.splitlines()
    assert usage.startswith(f"usage: python scripts/{name}") and written in usage
    assert len([line for line in lines if line.startswith("  ")]) >= 2 * len(module.SCRIPT.keys)
    with pytest.raises(ConfigError, match=f"unknown option --foo: {name} takes .*{written}"):
        module.main(["toy", "--foo", "A"])


def test_every_script_without_hydra_is_named_here() -> None:
    users = [path.name for path in (ROOT / "scripts").glob("*.py") if "exit_with(main)" in path.read_text()]
    assert sorted(users) == sorted(SCRIPTS)


def test_options_and_keys_are_told_apart() -> None:
    script = cli.Script("x.py", "X.", {"to": ("", "where"), "dry_run": ("false", "only say")}, words="RUN ...")
    assert script.parse(["a", "--dry-run", "to=b", "c"]) == (["a", "c"], {"dry_run": "true", "to": "b"})
    with pytest.raises(ConfigError, match="written without dashes, to=b"):
        script.parse(["--to=b"])
    with pytest.raises(ConfigError, match="unknown key 'too': x.py takes to=NAME, --dry-run"):
        script.parse(["too=b"])


def test_both_parts_of_optical_flow_are_reproduced(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(["flow", "--dry-run", "profile=smoke", "results_dir=nowhere"]) == 0
    text = capsys.readouterr().out
    assert text.count("profile=smoke: as asked") == 2
    assert "flow-chairs/flownets_fpi" in text and "flow-sintel/init" in text


@pytest.mark.parametrize("failed", ["flow-chairs", "flow-sintel"])
def test_both_parts_are_reported_and_a_failure_of_either_counts(monkeypatch: pytest.MonkeyPatch, failed: str) -> None:
    built = []

    def build(task: str, profile: str, *_: object) -> tuple[dict, list]:
        built.append((task, profile))
        return {"cells": [], "claims": []}, [{}] if task == failed else []

    monkeypatch.setattr(report, "build", build)
    assert report_cli.main(["flow", "profile=sample"]) == 1
    assert built == [("flow-chairs", "sample"), ("flow-sintel", "sample")]
