"""What scripts/train.py says can be run, on --help and to the shell's completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.engine import help
from tasks.engine.cli import task_names
from tasks.engine.config import experiments
from tasks.engine.store import ROOT


def train(*arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "scripts/train.py", *arguments],
        **{"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT), **environ}},
        **{"capture_output": True, "text": True, "timeout": 120},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_lists_tasks_rows_and_profiles() -> None:
    text = train("--help")
    assert text == help.text() + "\n"
    lines = [line.split() for line in text.splitlines()]
    for task in task_names():
        assert [f"{task}:"] in [line[:1] for line in lines]
        for name in experiments(task):
            (line,) = [line for line in lines if line[:1] == [name]]
            assert len(line) > 3, f"{name} says nothing of itself"
    assert {"paper", "sample", "smoke"} <= {line[0] for line in lines if line}


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (
            "# @package _global_\n# A row of two\n# lines (Wu et al. 2021), 4.5 %. More.\n",
            "A row of two lines (Wu et al. 2021), 4.5 %.",
        ),
        ("# One sentence.\n#   python scripts/train.py\nrow: a\n", "One sentence."),
        ("# No stop\nrow: a  # a row.\n", "No stop"),
        ("row: a\n", ""),
    ],
)
def test_a_config_is_introduced_by_its_first_sentence(tmp_path: Path, header: str, sentence: str) -> None:
    (tmp_path / "a.yaml").write_text(header)
    assert help._title(tmp_path / "a.yaml") == sentence


def test_no_sentence_is_cut_and_none_runs_on() -> None:
    for path in sorted(
        path for group in ("task", "experiment", "profile") for path in help.CONFIGS.glob(f"{group}/**/*.yaml")
    ):
        if path.parent.name != "task" or path.parent.parent.name != "profile":
            assert help._title(path).endswith(".") and "python " not in help._title(path), path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("experiment=bibtex/fpi", {"experiment=bibtex/fpi_gd", "experiment=bibtex/fpi_nn"}),
        ("profile=sm", {"profile=smoke"}),
        ("experiment=toy/box trainer.max_e", {"trainer.max_epochs="}),
    ],
)
def test_the_shell_completes_rows_profiles_and_keys(typed: str, offered: set[str]) -> None:
    line = f"python scripts/train.py {typed}"
    assert set(train("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line))).split()) == offered
