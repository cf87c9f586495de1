"""Figures are drawn once, and again when a run, the code or a file of theirs has changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.engine import figures, report, store
from tasks.engine.plots import FigureFile
from tests.engine.test_report import results as results


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of runs at every drawing."""
    calls: list[int] = []

    class Task:
        @staticmethod
        def claims(runs: list[store.Run]) -> list[object]:
            return []

        @staticmethod
        def figures(runs: list[store.Run], out: Path) -> list[FigureFile]:
            calls.append(len(runs))
            out.mkdir(parents=True)
            for kind in figures.KINDS:
                (out / f"f.{kind}").write_text(f"drawing {len(calls)}")
            return [FigureFile("table1", "Curves", "f.png", "f.svg", "f.csv", "A caption.")]

    monkeypatch.setattr(report, "_task_module", lambda task, name: Task)
    return calls


def build(results: Path) -> str:
    """Report, and what the picture shows."""
    summary, _ = report.build("tiny", "paper", results)
    assert summary["figures"] == [
        {"item": "table1", "title": "Curves", "caption": "A caption."}
        | {kind: f"figures/f.{kind}" for kind in figures.KINDS}
    ]
    return (results / "paper/tiny/figures/f.png").read_text()


def test_unchanged_runs_are_not_drawn_again(results: Path, drawn: list[int]) -> None:
    assert build(results) == build(results) == "drawing 1"
    assert drawn == [9]


@pytest.mark.parametrize("name", ["metrics.csv", "run.json", "pictures.npz"])
def test_a_run_that_changed_is_drawn_again(results: Path, drawn: list[int], name: str) -> None:
    build(results)
    path = results / "paper/tiny/good/seed0" / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n")
    assert build(results) == "drawing 2"


def test_a_run_more_or_less_is_drawn_again(results: Path, drawn: list[int]) -> None:
    build(results)
    (results / "paper/tiny/good/seed2").rename(results / "elsewhere")
    assert build(results) == "drawing 2" and drawn == [9, 8]


def test_a_checkpoint_draws_nothing(results: Path, drawn: list[int]) -> None:
    build(results)
    (results / "paper/tiny/good/seed0/last.ckpt").write_bytes(b"weights")
    assert build(results) == "drawing 1"


def test_code_that_changed_draws_again(
    results: Path, drawn: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code/tasks/tiny/figures.py"
    code.parent.mkdir(parents=True)
    code.write_text("one = 1\n")
    monkeypatch.setattr(figures, "ROOT", tmp_path / "code")
    assert build(results) == build(results) == "drawing 1"
    code.write_text("one = 2\n")
    assert build(results) == "drawing 2"


def test_a_lost_picture_and_an_interrupted_drawing_are_drawn_again(
    results: Path, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(results)
    (results / "paper/tiny/figures/f.svg").unlink()
    assert build(results) == "drawing 2"
    with monkeypatch.context() as patch:
        patch.setattr(figures, "keep", lambda *_: 1 / 0)
        patch.setattr(figures, "state", lambda *_: "another")
        with pytest.raises(ZeroDivisionError):
            build(results)
    assert build(results) == "drawing 4"


def test_drawing_any_task_does_not_load_torch() -> None:
    """It would take longer to load than the figures take to draw."""
    found = (path.parent.name for path in (store.ROOT / "tasks").glob("*/figures.py"))
    packages = sorted(name for name in found if name != "engine")
    modules = ", ".join(f"tasks.{package}.{name}" for package in packages for name in ("figures", "claims"))
    code = f"import sys, tasks.engine.report_cli, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=store.ROOT, capture_output=True, text=True, check=True)
    assert len(packages) >= 7 and done.stdout == "False\n"
