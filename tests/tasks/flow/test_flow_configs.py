"""Every flow experiment composes, at every profile, into the thesis' settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf

import fpi
from tasks.engine import paper
from tasks.flow.energy import HornSchunck
from tasks.flow.fpi_module import Refined
from tasks.flow.rows import CHAIRS, ROWS, SINTEL

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EVERY = [(task, row) for task, rows in ROWS.items() for row in rows]


def compose(task: str, row: str, profile: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"experiment={task}/{row}", f"profile={profile}", *overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


@pytest.mark.parametrize("task", ROWS)
def test_experiments_are_the_rows_of_the_report(task: str) -> None:
    assert {path.stem for path in (CONFIGS / "experiment" / task).glob("*.yaml")} == set(ROWS[task])
    assert {row.row for item in paper.items(task) for row in item.rows} == set(ROWS[task])


@pytest.mark.parametrize("profile", ["paper", "shapes", "sample", "smoke"])
@pytest.mark.parametrize(("task", "row"), EVERY)
def test_every_row_composes(task: str, row: str, profile: str) -> None:
    config = compose(task, row, profile)
    assert config["row"] == row and config["task"]["name"] == task
    names = {"paper": "pwcnet", "shapes": "raft_small", "sample": "dis", "smoke": "zero"}
    if task == SINTEL:
        assert config["method"]["initialiser"]["name"] == names[profile]


@pytest.mark.parametrize("row", ROWS[CHAIRS])
def test_flownets_as_published(row: str) -> None:
    config = compose(CHAIRS, row, "paper")
    assert config["trainer"]["max_epochs"] == 300 and config["data"]["epoch_batches"] == 1000
    assert config["data"]["batch_size"] == 8
    module = hydra.utils.instantiate(config["method"])
    optimizer = module.configure_optimizers()["optimizer"]
    assert optimizer.param_groups[0]["lr"] == 1e-4 and optimizer.param_groups[0]["weight_decay"] == 4e-4
    assert isinstance(module.model, Refined) == (row != "flownets")
    if row == "flownets_fpi":
        layer = module.layer
        assert layer.solver.criterion == fpi.Relative(1e-13, scope="batch") == layer.adjoint.solver.criterion
        largest = max(float(p.detach().abs().max()) for p in layer.parameters())
        assert largest < 0.01 / 3  # PyTorch's bound is 1/√36 or 1/√32


@pytest.mark.parametrize("row", ["energy_unrolled", "energy_implicit"])
def test_the_energy_of_the_thesis(row: str) -> None:
    method = compose(SINTEL, row, "paper", "method.initialiser.name=zero")["method"]
    module = hydra.utils.instantiate(method)
    layer, unrolled = module.layer, row == "energy_unrolled"
    energy = layer.g.energy if unrolled else layer.g.energy.energy
    assert isinstance(energy, HornSchunck) and float(energy.log_smoothness.exp()) == pytest.approx(180)
    assert energy.warping == ("bilinear" if unrolled else "spline")
    assert len(energy.features.down) == 3
    assert isinstance(layer.adjoint, fpi.Unrolled if unrolled else fpi.BackwardFPI)
    assert (layer.solver.max_iter, layer.g.step_size) == (10 if unrolled else 1000, 1.0)
    (group, _) = module.configure_optimizers().param_groups
    assert group["lr"] == 1e-3


def test_the_implicit_row_converges_forward_and_backward() -> None:
    pytest.importorskip("cv2")
    config = compose(SINTEL, "energy_implicit", "sample", "data.n_train=2", "data.batch_size=2")
    torch.manual_seed(0)
    module, data = (hydra.utils.instantiate(config[part]) for part in ("method", "data"))
    data.setup()
    module.loss(next(iter(data.train_dataloader()))).backward()
    forward = module.layer.info
    assert bool(forward.converged.all()) and bool(forward.backward.converged.all())
    assert forward.evaluations < 100 and forward.backward.evaluations < 100
