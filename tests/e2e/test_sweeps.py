"""The W&B sweep files: every trial that an agent could ask for is a valid job, and one is run as the agent would."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from tasks.engine import store
from tasks.engine.cli import task_names
from tasks.engine.config import resolve
from tests.e2e.tiny import ROOT

SWEEPS = sorted((ROOT / "scripts" / "sweeps").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def trials(sweep: dict[str, Any]) -> list[list[str]]:
    """Every combination of values; of a range, its two ends."""
    values = [entry.get("values") or [entry["min"], entry["max"]] for entry in sweep["parameters"].values()]
    return [[f"{k}={v}" for k, v in zip(sweep["parameters"], one, strict=True)] for one in itertools.product(*values)]


def command(sweep: dict[str, Any], trial: list[str]) -> list[str]:
    """As the agent puts it together."""
    macros = {"${env}": ["/usr/bin/env"], "${interpreter}": [sys.executable], "${program}": [sweep["program"]]}
    macros["${args_no_hyphens}"] = trial
    return [part for item in sweep["command"] for part in macros.get(item, [item])]


def test_every_task_has_a_sweep() -> None:
    variants = {"classification-cifar10", "classification-svhn"}  # the same method on other data
    assert {path.stem for path in SWEEPS} == set(task_names()) - variants


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_trial_composes_in_a_directory_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = load(path)
    assert not sweep["metric"]["name"].startswith("test/")
    assert sweep["metric"]["goal"] in ("maximize", "minimize") and sweep["method"] in ("grid", "random", "bayes")
    hashes = set()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for number, trial in enumerate(trials(sweep)):
            monkeypatch.setenv("WANDB_RUN_ID", f"trial{number}")
            config = resolve(compose("train", command(sweep, trial)[3:]))
            assert config["task"]["name"] == path.stem and config["row"] == f"sweep_trial{number}"
            if config["protocol"] != "none":
                assert config["protocol"] == "honest"
            hashes.add(store.config_hash({**config, "row": ""}))
    assert len(hashes) == len(trials(sweep))  # every parameter changes what is computed


def test_a_trial_runs_and_logs_the_metric_of_the_sweep(tmp_path: Path) -> None:
    sweep = load(ROOT / "scripts/sweeps/bibtex.yaml")
    trial = [*trials(sweep)[0], "profile=smoke", f"results_dir={tmp_path}", "method.network.hidden=8"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_RUN_ID": "abc123"}
    given = [part for part in command(sweep, trial) if part != "profile=paper"]
    done = subprocess.run(given, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    run = store.read_json(tmp_path / "smoke/bibtex/sweep_abc123-honest/seed0/run.json")
    assert run is not None and sweep["metric"]["name"] in run["metrics"]
