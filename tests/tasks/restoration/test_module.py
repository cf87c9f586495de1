"""tasks.restoration.module: what is logged and tested, divergence, resuming, pictures."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

import fpi
from tasks.engine.image_quality import psnr
from tasks.engine.job import run_job
from tasks.engine.store import read_csv
from tasks.restoration.data import EmbeddedData
from tasks.restoration.models import FixedPoint, RelaxedPODM, Restorer
from tasks.restoration.module import Restoration
from tasks.restoration.operators import Problem
from tasks.restoration.plugged import PODMRestorer
from tests.tasks.trainers import quiet

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
STAGE: dict[str, Any] = {"channels": 3, "dilations": [1, 1]}


def fit(network: Restorer, epochs: int = 2) -> tuple[L.Trainer, Restoration, EmbeddedData]:
    data = EmbeddedData(
        problem="deblur", sigma=2.55, crop=24, test_crop=24, kernel_size=5, n_kernels=3, n_train=12, n_test=4,
        holdout=0.2, batch_size=2, epoch_batches=3,
    )  # fmt: skip
    module = Restoration(
        network,
        partial(torch.optim.Adam, lr=1e-3),
        partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs),
    )
    trainer = quiet(epochs, gradient_clip_val=0.1)
    trainer.fit(module, data)
    return trainer, module, data


def logged(trainer: L.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_metrics_of_the_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(1e-7), max_iter=30, on_failure="ignore")
    network = FixedPoint(STAGE | {"keep": 0.5, "lipschitz": 0.9}, solver, fpi.BackwardFPI(solver))
    trainer, module, data = fit(network)
    found = logged(trainer)
    assert found["train/diverged"] == 0 and found["solver/backward_converged"] == 1
    per_batch = found["solver/forward_iterations"] + found["solver/backward_iterations"]
    assert 3 * per_batch * 0.7 <= found["cost/g_evaluations"] <= 3 * per_batch * 3
    trainer.test(module, data, verbose=False)
    found = logged(trainer)
    assert {name for name in found if name.startswith("test/")} == {"test/psnr", "test/ssim", "test/psnr_input"}
    ((_, problem, truth),) = data.test_dataloader()
    with torch.no_grad():
        assert found["test/psnr"] == pytest.approx(float(psnr(module.network(problem), truth).mean()), abs=1e-4)
    assert found["test/psnr_input"] == pytest.approx(float(psnr(problem.y, truth).mean()), abs=1e-4)
    assert all(path.exists() for path in module.artifacts(tmp_path).values())
    with np.load(tmp_path / "pictures.npz") as arrays:
        assert arrays["restored"].shape == arrays["truth"].shape == (3, 24, 24)
    curve = read_csv(tmp_path / "curves.csv")
    assert len(curve) == 30 and curve[-1]["change"] < 1e-5 < curve[0]["change"]


def test_podm_is_followed_beside_fista(tmp_path: Path) -> None:
    torch.manual_seed(0)
    constants = {"p": 0.8, "axes": 2, "alpha": 1e-3, "error": 0.08, "inner_steps": 2, "tolerance": 0.0}
    network = PODMRestorer(
        stages=6, steps=3, candidates=[{"factor": 0.1}, {"factor": 5.0}], denoisers="own", channels=3, dilations=[1, 1],
        first=1, sigma=2.55, **constants,
    )  # fmt: skip
    trainer, module, data = fit(network, epochs=3)
    assert int(network.choice) == 1 and "train/loss" in logged(trainer)
    trainer.test(module, data, verbose=False)
    module.artifacts(tmp_path)
    points = read_csv(tmp_path / "curves.csv")
    ours = [point["objective"] for point in points if point["fista"] == 0]
    theirs = [point["objective"] for point in points if point["fista"] == 1]
    assert len(ours) == 6 and len(theirs) > 20
    assert all(b <= a * (1 + 1e-6) for a, b in zip(ours, ours[1:], strict=False))


class Exploding(RelaxedPODM):
    """Its third training forward returns what makes the loss not finite."""

    calls = 0

    def forward(self, problem: Problem) -> Tensor:
        self.calls += torch.is_grad_enabled()
        return super().forward(problem) / (0 if torch.is_grad_enabled() and self.calls == 3 else 1)


def test_a_diverging_run_stops_with_the_weights_it_had() -> None:
    trainer, module, _ = fit(Exploding(1, STAGE), epochs=5)
    assert trainer.current_epoch < 5 and logged(trainer)["train/diverged"] == 1
    assert all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())


def compose(*overrides: str) -> Any:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", ["experiment=restoration/fpi", "profile=smoke", *overrides])


def test_an_interrupted_job_ends_with_the_same_weights(tmp_path: Path) -> None:
    job = Path("smoke/restoration/fpi_deblur/seed0")
    config = ("trainer.checkpoint_seconds=0", "task.epochs=4")
    whole, parts, again = (tmp_path / name for name in ("whole", "parts", "again"))
    assert run_job(compose(f"results_dir={whole}", "trainer.max_epochs=4", *config))["status"] == "done"
    # the same job, ended after two of its epochs, is continued from that checkpoint
    assert run_job(compose(f"results_dir={parts}", "trainer.max_epochs=2", *config))["status"] == "done"
    (again / job).mkdir(parents=True)
    for name in ("last.ckpt", "best.ckpt"):
        shutil.copy(parts / job / name, again / job / name)
    assert run_job(compose(f"results_dir={again}", "trainer.max_epochs=4", *config))["status"] == "done"
    first, second = (torch.load(folder / job / "last.ckpt", weights_only=True) for folder in (whole, again))
    assert first["epoch"] == second["epoch"] == 4
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
