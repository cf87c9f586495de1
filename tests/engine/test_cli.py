"""The words that stand for a task."""

from __future__ import annotations

import pytest

from tasks.engine import cli, report, report_cli, reproduce
from tasks.engine.errors import ConfigError


def test_a_packages_name_stands_for_its_tasks_unless_it_is_a_task() -> None:
    assert cli.groups() == {"flow": ["flow-chairs", "flow-sintel"]}  # classification is MNIST's
    assert cli.parse_task(["flow", "profile=smoke"], "report.py") == ("flow", {"profile": "smoke"})
    with pytest.raises(ConfigError, match="unknown task 'flows'.* flow, flow-chairs, flow-sintel,"):
        cli.parse_task(["flows"], "reproduce.py")


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
