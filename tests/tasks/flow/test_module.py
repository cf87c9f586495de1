"""Training and evaluation with Lightning, and what finished rows leave for the figures."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import fpi
from tasks.engine.store import read_csv
from tasks.flow.energy import EnergyLayer, HornSchunck
from tasks.flow.flownet import FlowNetS
from tasks.flow.fpi_module import fpi_refinement, refined
from tasks.flow.initialisers import make
from tasks.flow.module import EnergyModule, FlowModule, FlowNetModule
from tasks.flow.unet import UNet
from tests.tasks.trainers import quiet

Batch = dict[str, Any]


def shifted(seed: int, batch: int, shift: int = 2) -> Batch:
    """Frames whose second shows the first moved right by `shift` pixels."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.nn.functional.interpolate(
        torch.rand(batch, 3, 16, 18, generator=generator), size=(64, 64 + shift), mode="bicubic"
    ).clamp(0, 1)
    flow = torch.zeros(batch, 2, 64, 64)
    flow[:, 0] = shift
    valid = torch.ones(batch, 1, 64, 64, dtype=torch.bool)
    return {"frame1": wide[..., shift:], "frame2": wide[..., :64], "flow": flow, "valid": valid}


class Shifted(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader([shifted(i, 2) for i in range(4)], batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader:
        pairs = [shifted(10 + i, 1) | {"name": [f"{name}/{i}"]} for i, name in enumerate(("a", "a", "b"))]
        pairs[1]["flow"][..., :32] = torch.nan
        pairs[1]["valid"][..., :32] = False
        pairs[2]["flow"] += 1  # EPE larger by about 1.4
        return DataLoader(pairs, batch_size=None)  # type: ignore[arg-type]


def fit(module: FlowModule, epochs: int = 1) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = quiet(epochs)
        trainer.fit(module, datamodule=Shifted())
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def flownet(refinement: bool) -> FlowNetModule:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(1e-13, scope="batch"), max_iter=50)
    layer = fpi_refinement(solver, fpi.BackwardFPI(solver)) if refinement else None
    adam = partial(torch.optim.Adam, lr=1e-3)
    return FlowNetModule(model=refined(FlowNetS(0.03), layer), optimizer=adam, weight_decay=4e-4, examples=2)


def energy(adjoint: fpi.Adjoint, steps: int = 4) -> EnergyModule:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=steps, check_every=1, on_failure="ignore")
    layer = EnergyLayer(HornSchunck(UNet((3, 4), 3), scale=1e-5, image_range=20.0), 1.0, solver, adjoint)
    adam = partial(torch.optim.Adam, lr=1e-3)
    return EnergyModule(initialiser=make("zero"), refinement=layer, optimizer=adam, path_steps=3, examples=2)


def test_flownet_learns_and_logs(tmp_path: Path) -> None:
    module = flownet(refinement=True)
    first, last = fit(module), fit(module, 4)
    assert last["train/loss"] < first["train/loss"]
    assert first["solver/forward_converged"] == 1 and 2 <= first["solver/forward_iterations"] <= 5
    assert first["solver/backward_converged"] == 1
    assert first["cost/g_evaluations"] >= 4 * (2 + 1) + 3 * 2  # four training batches, three evaluation pairs
    assert first["test/epe"] == pytest.approx((2 * first["test/epe_a"] + first["test/epe_b"]) / 3, rel=1e-5)
    assert first["test/unknown"] == pytest.approx(1 / 6)


def test_biases_have_no_weight_decay() -> None:
    groups = flownet(refinement=True).configure_optimizers().param_groups
    assert [group["weight_decay"] for group in groups] == [4e-4, 0.0]
    assert all(parameter.dim() > 1 for parameter in groups[0]["params"])
    assert all(parameter.dim() == 1 for parameter in groups[1]["params"]) and groups[1]["params"]


def test_without_a_layer_there_are_no_evaluations_of_g(tmp_path: Path) -> None:
    module = flownet(refinement=False)
    metrics = fit(module)
    assert metrics["cost/g_evaluations"] == 0 and not [name for name in metrics if name.startswith("solver/")]
    module.artifacts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["examples.npz", "examples.png"]


def test_the_initial_flow_alone_trains_nothing(tmp_path: Path) -> None:
    module = EnergyModule(initialiser=make("zero"), optimizer=None)
    metrics = fit(module)
    assert metrics["test/epe_a"] == pytest.approx(2) and metrics["test/epe_b"] == pytest.approx(10**0.5, rel=1e-5)
    assert "train/loss" not in metrics
    assert list(module.artifacts(tmp_path)) == ["flow"] and not (tmp_path / "steps.csv").exists()


def test_an_energy_row_lowers_its_loss_and_leaves_its_traces(tmp_path: Path) -> None:
    module = energy(fpi.Unrolled())
    first = fit(module)
    last = fit(module, 5)
    assert last["train/loss"] < first["train/loss"]
    assert first["cost/g_evaluations"] == (4 + 3) * 4
    drawn = module.artifacts(tmp_path)
    assert drawn["flow"].stat().st_size > 5_000
    steps = read_csv(tmp_path / "steps.csv")
    assert [row["step"] for row in steps] == [0, 1, 2, 3]
    assert steps[0]["test_epe"] == pytest.approx((2 + 2 + 10**0.5) / 3, rel=1e-5)
    assert steps[3]["energy"] < steps[0]["energy"]
    with np.load(tmp_path / "path.npz") as path:
        assert sorted(path.files) == ["flow_0", "flow_1", "flow_2"] and not path["flow_0"].any()
    assert [row["check"] for row in read_csv(tmp_path / "convergence.csv")] == [1, 2, 3, 4]


def test_the_backward_solve_is_traced_too(tmp_path: Path) -> None:
    backward = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=3, on_failure="ignore")
    module = energy(fpi.BackwardFPI(backward))
    metrics = fit(module)
    assert metrics["solver/backward_iterations"] == 3 and metrics["cost/g_evaluations"] == (4 + 3) * 4 + 4 * 3
    module.artifacts(tmp_path)
    rows = read_csv(tmp_path / "convergence.csv")
    assert [("backward" in row, "forward" in row) for row in rows] == [(True, True)] * 3 + [(False, True)]
    assert module.refinement is not None and module.refinement.adjoint == fpi.BackwardFPI(backward)


def test_a_batch_without_truth_is_left_out() -> None:
    module, batch = flownet(refinement=False), shifted(0, 1)
    batch["valid"][:] = False
    assert module.training_step(batch, 0) is None
