"""tasks.denoising.module: what is logged and tested, divergence, resuming, pictures."""

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
from tasks.denoising.data import EmbeddedData
from tasks.denoising.models import Denoiser, FeedForward, FPIDenoiser, NonLocalMeans
from tasks.denoising.module import Denoising
from tasks.engine.image_quality import psnr
from tasks.engine.job import run_job
from tasks.engine.store import read_csv
from tests.tasks.trainers import quiet

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def make_data(**options: object) -> EmbeddedData:
    settings: dict = {
        "crop": 16,
        "sigma": 25,
        "batch_size": 3,
        "n_train": 12,
        "n_test": 4,
        "robustness": [50],
    } | options
    return EmbeddedData(**settings)


def make_layer() -> FPIDenoiser:
    solver = fpi.Picard(criterion=fpi.Relative(1e-7), max_iter=20, damping=0.5, on_failure="ignore")
    return FPIDenoiser(4, 3, 0.5, solver, fpi.BackwardFPI(solver))


def fit(network: Denoiser, epochs: int = 2, **options: object) -> tuple[L.Trainer, Denoising, EmbeddedData]:
    module, data = Denoising(network, partial(torch.optim.Adam, lr=1e-3), sigma=25), make_data(**options)
    trainer = quiet(epochs, gradient_clip_val=0.1)
    trainer.fit(module, data)
    return trainer, module, data


def test_metrics_of_an_fpi_row(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainer, module, data = fit(make_layer())
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["train/diverged"] == 0 and logged["solver/backward_converged"] == 1
    # four batches, each with its forward and backward evaluations
    per_batch = logged["solver/forward_iterations"] + logged["solver/backward_iterations"]
    assert 4 * per_batch * 0.7 <= logged["cost/g_evaluations"] <= 4 * per_batch * 2.5
    trainer.test(module, data, verbose=False)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
    names = {"psnr", "ssim", "psnr_clipped", "psnr_8bit", "psnr_noisy", "psnr_at_50"}
    assert set(tested) == {f"test/{name}" for name in names}
    (_, noisy, truth), _ = data.test_dataloader()
    with torch.no_grad():
        expected = psnr(module.network(noisy), truth).mean()
    assert tested["test/psnr"] == pytest.approx(float(expected), abs=1e-4)
    assert tested["test/psnr_noisy"] == pytest.approx(20.2, abs=0.5)
    drawn = module.artifacts(tmp_path)
    assert set(drawn) == {"noisy, denoised, truth", "iterates"} and all(path.exists() for path in drawn.values())
    with np.load(tmp_path / "pictures.npz") as arrays:
        assert arrays["denoised"].shape == (3, 16, 16) and arrays["iterates"].shape == (8, 16, 16)
    curve = read_csv(tmp_path / "iterates.csv")
    assert [row["iteration"] for row in curve] == list(range(1, 65))
    assert curve[-1]["residual"] < 1e-6 < curve[0]["residual"]


class Exploding(FeedForward):
    """Its third training forward returns what makes the loss not finite."""

    calls = 0

    def forward(self, z: Tensor) -> Tensor:
        self.calls += torch.is_grad_enabled()
        return super().forward(z) / (0 if torch.is_grad_enabled() and self.calls == 3 else 1)


class ExplodingGradient(FeedForward):
    """The loss stays finite, the gradient of the third step does not."""

    calls = 0

    def forward(self, z: Tensor) -> Tensor:
        self.calls += torch.is_grad_enabled()
        x = super().forward(z)
        if torch.is_grad_enabled() and self.calls == 3:
            x.register_hook(lambda grad: grad * float("nan"))
        return x


@pytest.mark.parametrize("kind", [Exploding, ExplodingGradient])
def test_a_diverging_run_stops_with_the_weights_it_had(kind: type[FeedForward]) -> None:
    trainer, module, _ = fit(kind(4, 3, 1.0), epochs=5)
    assert trainer.current_epoch < 5 and float(trainer.callback_metrics["train/diverged"]) == 1
    assert all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
    assert float(trainer.callback_metrics["val/psnr"]) > 0


def test_a_method_without_parameters_is_chosen_by_validation() -> None:
    trainer, module, data = fit(NonLocalMeans(25, [0.1, 0.8]), epochs=2)
    assert float(module.network.factor) == pytest.approx(0.8)  # type: ignore[arg-type]
    trainer.test(module, data, verbose=False)
    assert float(trainer.callback_metrics["test/psnr"]) > 21


def test_the_checkpoint_says_what_it_holds() -> None:
    content: dict[str, Any] = {}
    Denoising(make_layer(), torch.optim.Adam, sigma=15).on_save_checkpoint(content)
    assert content["denoiser"] == {"network": "FPIDenoiser", "channels": 4, "kernel_size": 3, "sigma": 15.0}


def compose(*overrides: str) -> Any:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", ["experiment=denoising/fpi_nn", "profile=smoke", *overrides])


def test_an_interrupted_job_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = ("trainer.max_epochs=4", "protocol=honest", "trainer.checkpoint_seconds=0")
    job = Path("smoke/denoising/fpi_nn_s25-honest/seed0")
    assert run_job(compose(f"results_dir={whole}", *config))["status"] == "done"
    # the same job, ended after two of its epochs, is continued from that checkpoint
    assert run_job(compose(f"results_dir={parts}", "trainer.max_epochs=2", *config[1:]))["status"] == "done"
    started = tmp_path / "again" / job
    started.mkdir(parents=True)
    for name in ("last.ckpt", "best.ckpt"):
        shutil.copy(parts / job / name, started / name)
    assert run_job(compose(f"results_dir={tmp_path / 'again'}", *config))["status"] == "done"
    first, second = (
        torch.load(folder / job / "last.ckpt", weights_only=True) for folder in (whole, tmp_path / "again")
    )
    assert first["epoch"] == second["epoch"] == 4
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
