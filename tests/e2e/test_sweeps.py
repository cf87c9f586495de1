"""The W&B sweep files: every trial that an agent could start is a valid job, and W&B's own agent runs one."""

from __future__ import annotations

import itertools
import os
import queue
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from wandb import wandb_agent

from tasks.engine import store
from tasks.engine.cli import task_names
from tasks.engine.config import resolve
from tests.e2e.tiny import ROOT
from tests.engine.wandb_file import offline_runs

SWEEPS = sorted((ROOT / "scripts" / "sweeps").glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def trials(sweep: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of values, as the server sends it; of a range, its two ends."""
    values = [entry.get("values") or [entry["min"], entry["max"]] for entry in sweep["parameters"].values()]
    combinations = itertools.product(*values)
    return [{k: {"value": v} for k, v in zip(sweep["parameters"], one, strict=True)} for one in combinations]


class Api:
    """What the agent asks its server: the sweep, and one trial to run."""

    def __init__(self, sweep: dict[str, Any], trial: dict[str, Any]) -> None:
        self.config = yaml.safe_dump(sweep)
        self.commands = [{"type": "run", "run_id": "abc123", "program": sweep["program"], "args": trial}]

    def sweep(self, sweep_id: str, specs: str) -> dict[str, str]:
        return {"config": self.config}

    def register_agent(self, host: str, sweep_id: str) -> dict[str, str]:
        return {"id": "agent"}

    def agent_heartbeat(self, agent_id: str, metrics: dict, run_states: dict) -> list[dict[str, Any]]:
        return [self.commands.pop()] if self.commands else []


def run_by_agent(sweep: dict[str, Any], trial: dict[str, Any]) -> wandb_agent.Agent:
    """Let the agent run this trial to its end."""
    agent = wandb_agent.Agent(Api(sweep, trial), queue.Queue(), sweep_id="s", count=1)
    agent.run()
    return agent


def command(sweep: dict[str, Any], trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the agent starts for this trial."""
    started = []

    class Process:
        def __init__(self, command: list[str], **_: Any) -> None:
            started.extend(command)

        def poll(self) -> int:
            return 0

    with monkeypatch.context() as patch:
        patch.setattr(wandb_agent, "AgentProcess", Process)
        run_by_agent(sweep, trial)
    return started


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell in the project's folder with its environment on the path; the agent looks around at once."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name, value in {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1, "WANDB_DIR": tmp_path, "WANDB_SWEEP_ID": "s"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # the agent leaves them behind
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(wandb_agent.Agent, "POLL_INTERVAL", 0.01)


def test_every_task_has_a_sweep() -> None:
    assert {path.stem for path in SWEEPS} == set(task_names())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_trial_composes_in_a_directory_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = load(path)
    assert not sweep["metric"]["name"].startswith("test/")
    assert sweep["metric"]["goal"] in ("maximize", "minimize") and sweep["method"] in ("grid", "random", "bayes")
    hashes = set()
    start = ["/usr/bin/env", "python", "scripts/train.py"]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for number, trial in enumerate(trials(sweep)):
            given = command(sweep, trial, monkeypatch)
            assert given[:3] == start
            monkeypatch.setenv("WANDB_RUN_ID", f"trial{number}")
            config = resolve(compose("train", given[3:]))
            assert config["task"]["name"] == path.stem and config["row"] == f"sweep_trial{number}"
            if config["protocol"] != "none":
                assert config["protocol"] == "honest"
            hashes.add(store.config_hash({**config, "row": ""}))
    assert len(hashes) == len(trials(sweep))  # every parameter changes what is computed


def test_the_agent_runs_a_trial_which_logs_the_metric_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    sweep = load(ROOT / "scripts/sweeps/bibtex.yaml")
    smoke = {"profile=paper": "profile=smoke"}
    sweep["command"] = [smoke.get(part, part) for part in sweep["command"]] + [f"results_dir={tmp_path}", "logger=auto"]
    agent = run_by_agent(sweep, trials(sweep)[0] | {"method.network.hidden": {"value": 8}})
    assert agent._finished == 1 and agent._failed == 0
    job = tmp_path / "smoke/bibtex/sweep_abc123-honest/seed0"
    run = store.read_json(job / "run.json")
    assert run is not None and sweep["metric"]["name"] in run["metrics"]
    (offline,) = offline_runs(job)
    assert offline.run.run_id == "abc123" and offline.run.sweep_id == "s"  # the server knows whose trial it was
    assert offline.logged(sweep["metric"]["name"]) and offline.config["method"]["network"]["hidden"] == 8
