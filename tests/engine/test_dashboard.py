"""The W&B dashboard: printed without a network, and built of the library's own objects."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tasks.engine import dashboard, paper, report
from tasks.engine.errors import ConfigError
from tests.engine.test_report import ITEMS, add_run


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report of one task, and no network."""

    def no_network(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(paper, "items", lambda task: ITEMS if task == "tiny" else ())
    for seed in range(3):
        add_run(tmp_path, "good", seed, 43.0 + seed)
    report.build("tiny", "paper", tmp_path)
    return tmp_path


def test_a_dry_run_prints_sections_panels_and_tables(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard.main(["--dry-run", "entity=me", f"results_dir={results}"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "W&B me/fpi: workspace and report 'fpi: paper'" in text
    assert "section tiny: runs of the group 'tiny' tagged 'paper' panel f1: val/f1, test/f1 by epoch" in text
    assert "panel Residuals of both layers: solver/forward_residual, solver/backward_residual by epoch" in text
    assert "table Table 1: scores: 1 rows" in text
    assert "section bibtex" in text  # from the published record


def test_the_workspace_and_the_report_have_what_the_dry_run_says(results: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="needs the extra `dashboard`")
    sections = [section for section in dashboard.plan(results, "paper") if section.task == "tiny"]
    workspace, page = dashboard.build(sections, "me", "fpi", "paper")
    (part,) = workspace.sections
    assert (workspace.entity, part.name) == ("me", "tiny")
    assert [panel.title for panel in part.panels] == [panel.title for panel in sections[0].panels]
    assert part.panels[0].y == ["val/f1", "test/f1"] and part.panels[0].x == "epoch"
    assert [panel.log_y for panel in part.panels] == [False, True, False, True, False]
    kinds = [type(block).__name__ for block in page.blocks]
    assert kinds == ["TableOfContents", "H1", "MarkdownBlock", "PanelGrid"]
    assert "| Good net | 43.4 | 44.00 ± 2.48 (3) |" in page.blocks[2].text
    assert "Group = 'tiny'" in page.blocks[3].runsets[0].filters
    assert workspace._to_model()  # the library accepts it: filters and groups are parsed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dryrun"], "unknown option --dryrun: dashboard.py takes .*--dry-run"),
        (["profile=papr"], "profile=papr: there is no such profile"),
        (["profile=smoke", "dry_run=true", "results_dir=/nowhere"], "make report PROFILE=smoke"),
        (["results_dir=/nowhere"], "wandb login"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard.tracking, "logged_in", lambda: False)
    with pytest.raises(ConfigError, match=message):
        dashboard.main(arguments)
