"""From run.json files to the record: its form, its verdicts, and what the page says of failures and stand-ins."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import page, paper, report, report_cli, store
from tasks.engine.errors import ConfigError
from tasks.engine.plots import FigureFile
from tasks.engine.verdict import Claim

ITEMS = (
    paper.Item(
        *("table1", "Table 1: scores", "test/f1", "%", True),
        rows=(
            paper.PaperRow("good", "Good net", 43.4, 0.5, "a reason"),
            paper.PaperRow("control", "Control"),
            paper.PaperRow("absent", "Absent", 1.0, 0.5, "a reason"),
        ),
        also=("test/micro",),
    ),
)
CELL_KEYS = "item row protocol metric unit paper values mean ci95 n tolerance verdict data command".split()


def add_run(results: Path, row: str, seed: int, f1: float, protocol: str = "paper", stand_in: bool = False) -> None:
    run: dict[str, Any] = {
        **{"task": "tiny", "row": row, "protocol": protocol, "seed": seed, "profile": "paper", "status": "done"},
        **{"data": "generated sample" if stand_in else "real", "stand_in": stand_in, "seconds": 2.0},
        **{"metrics": {"test/f1": f1, "test/micro": f1 + 1}, "g_evaluations": 10.0, "command": f"run {row} {seed}"},
        "env": {"git": {"commit": "abc", "dirty": None}, "hardware": "a CPU, 2 cores"},
    }
    config = {"task": {"name": "tiny"}, **{key: run[key] for key in ("row", "protocol", "seed", "profile")}}
    directory = store.job_directory(results, config)
    directory.mkdir(parents=True)
    store.write_json(directory / "run.json", run)
    store.write_csv(directory / "metrics.csv", [{"epoch": 1, "val/f1": f1}])


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three seeds of two rows, one of which is also run by the honest protocol, and a failed job."""
    monkeypatch.setattr(paper, "items", lambda task: ITEMS if task == "tiny" else ())
    for seed, f1 in enumerate((43.4, 43.5, 43.6)):
        add_run(tmp_path, "good", seed, f1)
        add_run(tmp_path, "good", seed, f1 - 5, "honest")
        add_run(tmp_path, "control", seed, f1 - 1)
    failed = tmp_path / "paper" / "tiny" / "control" / "seed3"
    failed.mkdir()
    failure = {"row": "control", "protocol": "paper", "seed": 3, "error": "E: x\ny", "hint": "Do this.", "command": "c"}
    store.write_json(failed / "failed.json", failure)
    return tmp_path


def test_the_summary_has_the_published_form(results: Path) -> None:
    summary, failed = report.build("tiny", "paper", results)
    assert summary == json.loads((results / "paper/tiny/summary.json").read_text())
    assert list(summary) == "task profile commit hardware date cells claims figures cost".split()
    assert (summary["commit"], summary["hardware"], len(failed)) == ("abc", "a CPU, 2 cores", 1)
    assert summary["cost"] == {"seconds_total": 18.0, "g_evaluations": 90.0}
    assert all(list(cell) == CELL_KEYS for cell in summary["cells"])
    found = {(c["row"], c["protocol"], c["metric"]): c for c in summary["cells"]}
    assert len(found) == 6  # two rows, one of them by two protocols, two metrics each
    good = found["good", "paper", "f1"]
    assert good["values"] == [43.4, 43.5, 43.6] and (good["paper"], good["tolerance"], good["n"]) == (43.4, 0.5, 3)
    assert good["mean"] == pytest.approx(43.5) and good["ci95"] == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert (good["verdict"], good["data"], good["command"]) == ("matches", "real", "run good 0")
    assert found["good", "honest", "f1"]["verdict"] == "falls short"
    for key in (("control", "paper", "f1"), ("good", "paper", "micro")):  # nothing of the paper's to compare with
        assert found[key]["verdict"] is None and found[key]["paper"] is None and found[key]["tolerance"] is None


def test_stand_in_data_get_no_cell_verdict_and_a_label(results: Path) -> None:
    for seed in range(3):
        add_run(results, "absent", seed, 1.0, stand_in=True)
    summary, _ = report.build("tiny", "paper", results)
    cell = next(c for c in summary["cells"] if c["row"] == "absent")
    assert cell["verdict"] is None and cell["paper"] == 1.0 and cell["data"] == "generated sample"
    page = (results / "paper/README.md").read_text()
    assert "Stand-in data (generated sample)" in page
    assert "| Absent | 1 | 1.00 ± 0.00 (3) | stand-in data |" in page


def test_the_page_shows_numbers_verdicts_failures_and_the_command(results: Path) -> None:
    report.build("tiny", "paper", results)
    page = (results / "paper/README.md").read_text()
    assert "| Good net | 43.4 | 43.50 ± 0.25 (3) | **matches** | 44.50 ± 0.25 (3) | 38.50 ± 0.25 (3) |" in page
    assert "- **failed**: control, protocol paper, seed 3: E: x y Do this." in page
    assert "make reproduce-tiny PROFILE=paper" in page and "commit abc" in page and "a CPU, 2 cores" in page
    assert "Absent" not in page


def test_claims_and_figures_of_the_task_are_in_the_record(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Task:
        @staticmethod
        def claims(runs: list[store.Run]) -> list[Claim]:
            f1 = {(run.row, run.seed): run.metric("test/f1") for run in runs if run.protocol == "paper"}
            pairs = [f1["good", seed] - f1["control", seed] for seed in range(3)]
            return [Claim("table1", "the good net beats the control", pairs, "real")]

        @staticmethod
        def figures(runs: list[store.Run], out: Path) -> list[FigureFile]:
            out.mkdir(parents=True)
            for kind in ("png", "svg", "csv"):
                (out / f"f.{kind}").write_text(str(runs[0].metrics))
            return [FigureFile("table1-curves", "Curves", "f.png", "f.svg", "f.csv", "A caption.")]

    monkeypatch.setattr(report, "_task_module", lambda task, name: Task)
    summary, _ = report.build("tiny", "paper", results, publish=True)
    claim = dict(summary["claims"][0])
    assert claim.pop("difference") == pytest.approx(1.0) and claim.pop("ci95") == pytest.approx(0.0, abs=1e-9)
    expected = {"item": "table1", "text": "the good net beats the control", "n": 3, "verdict": "holds", "data": "real"}
    assert claim == expected
    assert summary["figures"][0]["png"] == "figures/f.png"
    page = (results / "paper/README.md").read_text()
    assert "![Curves](tiny/figures/f.png)" in page and "**holds**" in page
    published = results / "published" / "tiny"
    assert json.loads((published / "summary.json").read_text()) == summary
    assert {path.name for path in (published / "figures").iterdir()} == {"f.png", "f.svg", "f.csv"}
    assert "![Curves](figures/f.png)" in (published / "README.md").read_text()


def test_the_page_covers_every_task_of_the_profile(results: Path) -> None:
    report.build("tiny", "paper", results)
    other = json.loads((results / "paper/tiny/summary.json").read_text()) | {"task": "other", "cells": []}
    (results / "paper" / "other").mkdir()
    store.write_json(results / "paper/other/summary.json", other)
    report.build("tiny", "paper", results)
    page = (results / "paper/README.md").read_text()
    assert page.index("## other") < page.index("## tiny")


def test_a_further_profile_is_published_beside_the_first(results: Path) -> None:
    shutil.copytree(results / "paper", results / "longer")
    for profile in ("paper", "longer"):
        report.build("tiny", profile, results, publish=True)
    published = results / "published"
    assert json.loads((published / "tiny/summary.json").read_text())["profile"] == "paper"
    assert json.loads((published / "tiny-longer/summary.json").read_text())["profile"] == "longer"
    html = page.write(published, page.sources(published, jobs=False)).read_text()
    assert html.count('<section id="tiny" ') == 1 and html.count('<section id="tiny-longer" ') == 1
    assert "make reproduce-tiny PROFILE=longer" in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_nothing_to_report_and_nothing_to_publish_are_errors(results: Path) -> None:
    with pytest.raises(ConfigError, match="make reproduce-tiny PROFILE=sample"):
        report.build("tiny", "sample", results)
    with pytest.raises(ConfigError, match="publish=true with profile=smoke"):
        report.build("tiny", "smoke", results, publish=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: python scripts/report.py TASK"),
        (["nope"], "unknown task 'nope'"),
        (["bibtex", "profil=paper"], "unknown key 'profil'"),
        (["bibtex", "profile=papr"], "bibtex has no such profile. Did you mean paper?"),
        (["bibtex", "publish=yes"], "publish=yes is not valid"),
        (["bibtex", "publish"], "'publish' is not key=value"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        report_cli.main(arguments)
    assert message in str(raised.value)


def test_all_reports_every_task_and_says_what_failed(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report_cli, "task_names", lambda: ["absent", "tiny"])
    assert not report.is_drawn("tiny", "paper", results)
    assert report_cli.main(["all", f"results_dir={results}"]) == 1  # there is a failed job
    assert capsys.readouterr().out.split() == [str(results / "paper/index.html")]
    assert report.is_drawn("tiny", "paper", results)
    assert json.loads((results / "paper/tiny/summary.json").read_text())["cost"]["seconds_total"] == 18.0
