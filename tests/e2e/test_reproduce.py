"""The reproduction commands at profile=smoke: every experiment composes, runs and is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tasks.engine import paper, store
from tasks.engine.config import experiments, resolve
from tests.e2e.tiny import ROOT


@pytest.mark.parametrize("task", ["bibtex", "toy"])
def test_every_experiment_composes_at_every_profile(task: str) -> None:
    names = experiments(task)
    hashes = set()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for name in names:
            for profile in ("smoke", "sample", "paper"):
                config = resolve(compose("train", [f"experiment={name}", f"profile={profile}"]))
                assert (config["task"]["name"], config["profile"]) == (task, profile)
                assert config["trainer"]["max_epochs"] == 2 or profile != "smoke"
                hashes.add(store.config_hash(config))
    assert len(hashes) == 3 * len(names)


@pytest.mark.parametrize("task", ["bibtex", "toy"])
def test_a_reproduction_runs_every_experiment_of_the_task(task: str) -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", [f"reproduce={task}"], return_hydra_config=True)
    chosen = config.hydra.sweeper.params.experiment.replace("\n", "").replace(" ", "").split(",")
    assert sorted(chosen) == experiments(task)
    assert config.hydra.sweeper.params.seed == "0,1,2" and config.hydra.mode.name == "MULTIRUN"


def reproduce(task: str, results: Path, *arguments: str) -> str:
    command = [sys.executable, "scripts/reproduce.py", task, "profile=smoke", f"results_dir={results}", *arguments]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_rows_by_both_protocols(tmp_path: Path) -> None:
    text = reproduce("bibtex", tmp_path, "experiment=bibtex/control,bibtex/fpi_nn")
    assert text.startswith("profile=smoke: as asked\n") and "4 jobs done, 0 failed" in text
    summary = json.loads((tmp_path / "smoke/bibtex/summary.json").read_text())
    cells = {(cell["row"], cell["protocol"]) for cell in summary["cells"]}
    assert cells == {(row, protocol) for row in ("control", "fpi_nn") for protocol in ("paper", "honest")}
    assert all(cell["verdict"] is None and cell["data"] == "generated sample" for cell in summary["cells"])
    page = (tmp_path / "smoke/README.md").read_text()
    assert "Stand-in data" in page
    for figure in summary["figures"]:
        assert all((tmp_path / "smoke/bibtex" / figure[kind]).stat().st_size > 100 for kind in ("png", "svg", "csv"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["bibtex", "toy"])
def test_all_rows_of_a_task(tmp_path: Path, task: str) -> None:
    reproduce(task, tmp_path)
    summary = json.loads((tmp_path / f"smoke/{task}/summary.json").read_text())
    rows = {row.row for item in paper.items(task) for row in item.rows}
    assert {cell["row"] for cell in summary["cells"]} == rows
    assert summary["claims"] and summary["figures"]
