"""The tasks' configs: every row composes and builds at every profile, with the models' settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

import fpi
from tasks.classification.data import ImageData
from tasks.classification.rows import CIFAR10, FAMILIES, FIGURES, MNIST, REPORTED, ROWS, SVHN
from tasks.engine import paper

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PROFILES = {
    MNIST: ["smoke", "sample", "mnist", "paper"],
    SVHN: ["smoke", "sample", "paper"],
    CIFAR10: ["smoke", "sample", "cifar10jpeg", "cifar10lossless", "paper"],
}
ALL = [(task, row) for task, rows in ROWS.items() for row in rows]


def compose(task: str, row: str, profile: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"experiment={task}/{row}", f"profile={profile}", *overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


@pytest.mark.parametrize("task", ROWS)
def test_the_tables_list_what_the_sweep_runs(task: str) -> None:
    experiments = {path.stem for path in (CONFIGS / "experiment" / task).glob("*.yaml")}
    assert experiments == set(ROWS[task]) == {row.row for item in paper.items(task) for row in item.rows}
    sweep = yaml.safe_load((CONFIGS / "reproduce" / f"{task}.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert {part.strip() for part in sweep["experiment"].split(",")} == {f"{task}/{row}" for row in experiments}
    assert FAMILIES.keys() == FIGURES.keys() == REPORTED.keys() == ROWS.keys()


@pytest.mark.parametrize(("task", "row"), ALL)
def test_rows_have_the_settings_of_their_models_and_build(task: str, row: str) -> None:
    config = compose(task, row, "paper", "protocol=honest")
    assert config["task"]["name"] == task and config["row"] == row and config["data"]["holdout"] == 0.1
    module, data = instantiate(config["method"]), instantiate(config["data"])
    assert isinstance(data, ImageData) and not data.stand_in and data.augment is row.startswith("aug_")
    layer = module.network.layer
    if row.endswith("explicit"):
        assert layer.solver.max_iter == 1 and isinstance(layer.adjoint, fpi.Unrolled) and module.probe == 0
    else:
        assert layer.solver.criterion == fpi.Absolute(1e-8) and layer.solver.max_iter == 500
        assert module.probe == (0 if row.endswith("mon") else 8)
    if row.endswith("jfb"):
        assert isinstance(layer.adjoint, fpi.JacobianFree)
    solver = {"cg": fpi.ConjugateGradient, "fpi": fpi.Picard, "mon": fpi.Anderson}.get(row.rpartition("_")[2])
    if solver is not None:
        assert isinstance(layer.adjoint, fpi.BackwardFPI) and isinstance(layer.adjoint.solver, solver)
        assert layer.adjoint.solver.max_iter == 500 and layer.adjoint.solver.criterion == fpi.Relative(1e-8)


@pytest.mark.parametrize(
    ("task", "row", "lr", "batch", "epochs", "schedule"),
    [
        (MNIST, "fc_jfb", 5e-4, 50, 250, ("StepLR", 5, 0.97)),
        (MNIST, "conv_jfb", 5e-5, 50, 250, ("StepLR", 10, 0.98)),
        (SVHN, "jfb", 1e-3, 100, 100, ("CosineAnnealingLR", 100, None)),
        (CIFAR10, "jfb", 1e-3, 50, 250, ("StepLR", 10, 0.95)),
        (CIFAR10, "aug_jfb", 5e-4, 50, 200, ("CosineAnnealingLR", 200, None)),
    ],
)
def test_the_released_schedules(task: str, row: str, lr: float, batch: int, epochs: int, schedule: tuple) -> None:
    config = compose(task, row, "paper")
    assert (config["method"]["optimizer"]["lr"], config["data"]["batch_size"]) == (lr, batch)
    assert config["trainer"]["max_epochs"] == epochs
    given = config["method"]["scheduler"]
    assert given["_target_"].rpartition(".")[2] == schedule[0]
    assert given.get("step_size", given.get("T_max")) == schedule[1] and given.get("gamma") == schedule[2]


@pytest.mark.parametrize(("task", "profile"), [(task, profile) for task in ROWS for profile in PROFILES[task]])
def test_every_profile_builds_and_stand_ins_say_so(task: str, profile: str) -> None:
    for row in ROWS[task]:
        config = compose(task, row, profile)
        data = instantiate(config["data"])
        assert data.stand_in == (profile not in ("paper", "mnist"))
        assert instantiate(config["method"]).network.image_shape == tuple(data.image_shape)


def test_rows_of_a_family_differ_by_their_gradient_alone() -> None:
    found = []
    for adjoint in ("jfb", "normal_cg", "backward_fpi"):
        config = compose(MNIST, f"conv_{adjoint}", "mnist")
        config.pop("row")
        config["method"]["network"].pop("adjoint")
        found.append(config)
    assert found[0] == found[1] == found[2]
