"""scripts/new_task.py: the task it writes trains, is reported, and passes its own tests and the style check."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.new_task import create

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what a task needs of the repository."""
    skip = shutil.ignore_patterns("__pycache__", "bench", "docs", "published")
    for name in ("configs", "fpi", "scripts", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skip)
    (tmp_path / "results").mkdir()
    shutil.copytree(ROOT / "data/listings", tmp_path / "data/listings")
    for name in ("Makefile", "pyproject.toml", "results/paper.yaml", "data/manifest.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    settings = {"cwd": folder, "env": env, "capture_output": True, "text": True, "timeout": 200}
    done = subprocess.run([sys.executable, *command], **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.slow
def test_a_new_task_trains_and_is_reported(copy: Path) -> None:
    assert "next: make reproduce-spring" in run(copy, "scripts/new_task.py", "spring")
    run(copy, "scripts/reproduce.py", "spring", "profile=smoke", "hydra.launcher.n_jobs=1")
    summary = json.loads((copy / "results/smoke/spring/summary.json").read_text(encoding="utf-8"))
    assert {cell["row"] for cell in summary["cells"]} == {"fpi_nn", "feedforward"}
    assert summary["claims"] and summary["figures"]
    assert "reproduce-spring: ## " in (copy / "Makefile").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_new_task_passes_its_tests_and_the_style_check(copy: Path) -> None:
    files = [str(path) for path in create("spring", copy) if path.suffix == ".py"]
    run(copy, "-m", "pytest", "tests/tasks/spring")
    run(copy, "-m", "ruff", "check", *files)
    run(copy, "-m", "ruff", "format", "--check", *files)


@pytest.mark.parametrize("name", ["Spring", "optical-flow", "2d", "class", "", "task_template"])
def test_a_name_that_cannot_be_a_package_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a task"):
        create(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["toy", "engine"])
def test_an_existing_task_is_left_alone(name: str) -> None:
    with pytest.raises(ValueError, match=f"there is a task {name} already"):
        create(name)
