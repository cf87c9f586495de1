"""Every toy experiment composes, at every profile, into the paper's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

import fpi
from tasks.toy.curves import NETWORKS, PROBLEMS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment" / "toy").glob("*.yaml"))


def compose(experiment: str, profile: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"experiment=toy/{experiment}", f"profile={profile}", *overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def test_experiments_are_the_rows_of_the_figures() -> None:
    assert set(EXPERIMENTS) == {*PROBLEMS, *(f"{row}_literal" for row in PROBLEMS), *NETWORKS}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_has_the_papers_scale(experiment: str) -> None:
    config = compose(experiment, "paper")
    assert config["row"] == experiment and config["trainer"]["max_epochs"] == 40
    data = hydra.utils.instantiate(config["data"])
    assert len(data.fresh) == 100 and data.test_set[0].shape == (1000, 10)
    model = hydra.utils.instantiate(config["method"]).model
    if isinstance(model, fpi.FPI_GD):
        constrained = experiment == "constrained_fpi_gd"
        assert model.solver.max_iter == model.adjoint.terms == 1000
        assert model.g.step_size == (0.01 if constrained else 1000)
        assert model.g.energy.first.weight.shape == (32 if constrained else 64, 20)
        largest = model.g.energy.first.weight.abs().max().item()  # PyTorch's default: below 1/sqrt(20)
        assert (largest > 0.2) == (constrained or experiment.endswith("_literal"))


def test_smoke_takes_twenty_steps() -> None:
    config = compose("box", "smoke")
    assert config["method"]["model"]["solver"]["max_iter"] == config["method"]["model"]["adjoint"]["terms"] == 20
    assert config["data"]["train_samples"] == 200 and config["trainer"]["max_epochs"] == 2


def test_the_iterated_backward_layer_can_be_chosen() -> None:
    config = compose("box", "paper", "method/toy/adjoint@method.model.adjoint=backward_fpi")
    model = hydra.utils.instantiate(config["method"]).model
    assert isinstance(model.adjoint, fpi.BackwardFPI) and model.adjoint.solver.max_iter == 1000
