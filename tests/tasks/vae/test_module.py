"""tasks.vae.module: the shared first half, what is logged, divergence, resuming, pictures."""

from __future__ import annotations

import csv
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
from tasks.engine.job import run_job
from tasks.vae.data import GeneratedFaces, as_float
from tasks.vae.inversion import Inversion
from tasks.vae.module import ImageGeneration
from tasks.vae.networks import VAE
from tests.tasks.trainers import quiet

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def make_data() -> GeneratedFaces:
    return GeneratedFaces(n_train=48, n_more=72, size=8, batch_size=12, n_eval=60, n_test=20, eval_batch_size=10)


def make_inversion(**options: Any) -> Inversion:
    solver = fpi.Picard(max_iter=4, criterion=fpi.Absolute(1e-9), on_failure="ignore")
    return Inversion(**{"solver": solver, "adjoint": fpi.BackwardFPI(solver), "step_size": 5.0, **options})


def fit(inversion: Inversion | None, epochs: int = 4, **options: Any) -> tuple[L.Trainer, ImageGeneration]:
    torch.manual_seed(0)
    network, optimizer = VAE([4, 8], 4, 8), partial(torch.optim.Adam, lr=1e-3)
    module = ImageGeneration(network, optimizer, 1e-3, inversion, distances=["fd_random"], **options)
    trainer = quiet(epochs)
    torch.manual_seed(1)
    trainer.fit(module, make_data())
    return trainer, module


def logged(trainer: L.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


class Kept(L.Callback):
    """The weights after every epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.weights.append({name: value.clone() for name, value in module.network.state_dict().items()})  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("weight_scale", [None, 1e-3])
def test_the_first_half_is_the_same_bit_by_bit(weight_scale: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for inversion in (None, make_inversion(weight_scale=weight_scale)):
        kept = Kept()
        with monkeypatch.context() as patch:
            patch.setattr(L.Trainer, "__init__", partial_init(kept))
            fit(inversion)
        found.append(kept.weights)
    plain, ours = found
    assert len(plain) == len(ours) == 4
    for epoch in (0, 1):
        assert all(torch.equal(value, ours[epoch][name]) for name, value in plain[epoch].items())
    assert not all(torch.equal(value, ours[2][name]) for name, value in plain[2].items())


def partial_init(callback: L.Callback) -> Any:
    original = L.Trainer.__init__

    def init(self: L.Trainer, **options: Any) -> None:
        original(self, callbacks=[callback], **options)

    return init


def test_metrics_of_both_arms() -> None:
    trainer, module = fit(None)
    plain = logged(trainer)
    assert plain["test/mse"] == plain["test/mse_encoder"] and "test/steps" not in plain
    trainer, module = fit(make_inversion())
    ours = logged(trainer)
    assert ours["solver/forward_iterations"] == 4 and ours["solver/backward_iterations"] == 4
    assert ours["cost/g_evaluations"] == 4 * 8 and ours["test/steps"] == 4
    assert ours["test/mse"] < ours["test/mse_encoder"] and ours["test/distance"] > 0
    assert ours["diverged"] == 0
    for metrics in (plain, ours):
        assert metrics["test/mse_inverse"] < metrics["test/mse_encoder"]
        assert 0 < metrics["test/fd_random_best"] <= metrics["test/fd_random"]
        assert metrics["test/fd_random_floor"] < metrics["test/fd_random"]
    images = as_float(torch.cat(list(trainer.datamodule.val_dataloader())))  # type: ignore[attr-defined]
    module.network.eval()
    with torch.no_grad():
        x0, _ = module.network.encoder(images)
        expected = (module.network.decoder(x0) - images).square().mean()
    assert ours["test/mse_encoder"] == pytest.approx(float(expected), rel=1e-5)


def test_pictures_and_the_inversions_that_were_followed(tmp_path: Path) -> None:
    trainer, module = fit(make_inversion(), epochs=2)
    drawn = module.artifacts(tmp_path)
    assert all(path.stat().st_size > 1000 for path in drawn.values())
    with np.load(tmp_path / "pictures.npz") as arrays:
        assert {name: arrays[name].shape[0] for name in arrays.files} == {
            **{"truth": 10, "reconstruction": 10, "generation": 16, "interpolation": 8},
            **{"iterates": 7, "iterates_truth": 1},
        }
    with open(tmp_path / "inversions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    readings = {row["reading"] for row in rows}
    assert len(readings) == 6 and all(sum(row["reading"] == name for row in rows) == 31 for name in readings)
    first = [row for row in rows if row["step"] == "0"]
    assert len({row["mse"] for row in first}) == 1 and {row["distance"] for row in first} == {"0.0"}
    last = {row["reading"]: float(row["mse"]) for row in rows if row["step"] == "30"}
    assert last["mean, L-BFGS"] < last["mean, γ = 5 (workable)"] < float(first[0]["mse"])


class Exploding(Inversion):
    calls = 0

    def forward(self, *args: Any) -> Tensor:
        self.calls += torch.is_grad_enabled()
        return super().forward(*args) * (float("nan") if self.calls == 6 and torch.is_grad_enabled() else 1.0)


def exploding() -> Exploding:
    solver = fpi.Picard(max_iter=2, criterion=fpi.Absolute(1e-9), on_failure="ignore")
    return Exploding(solver, fpi.JacobianFree())


def test_a_loss_that_is_not_finite_stops_with_the_step_the_config_and_the_checkpoint() -> None:
    with pytest.raises(FloatingPointError) as error:
        fit(exploding())
    text = str(error.value)
    assert "epoch 4, step 2" in text and "config.yaml" in text and "no checkpoint was written yet" in text
    assert "step_size" in text


def test_divergence_can_be_a_result() -> None:
    trainer, _ = fit(exploding(), epochs=8, first_half=0.25, tolerate_divergence=True)
    assert logged(trainer)["diverged"] == 1 and trainer.current_epoch < 8


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"first_half": 1.5}, "first_half"),
        ({"generate_batch_norm": "no"}, "generate_batch_norm"),
        ({"kl_weight": float("nan")}, "kl_weight"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], key: str) -> None:
    settings = {"kl_weight": 1.0, **options}
    with pytest.raises(ValueError, match=key):
        ImageGeneration(VAE([4], 2, 4), partial(torch.optim.Adam), **settings)


def compose(*overrides: str) -> Any:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", ["experiment=vae/fpi", "profile=smoke", *overrides])


def test_an_interrupted_job_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = ("trainer.max_epochs=4", "method.first_half=0.25", "trainer.checkpoint_seconds=0")
    job = Path("smoke/vae/fpi/seed0")
    whole = run_job(compose(f"results_dir={tmp_path / 'whole'}", *config))
    assert whole["status"] == "done"
    # the same job, ended after two of its epochs, is continued from that checkpoint
    halves = ("trainer.max_epochs=2", "method.first_half=0.5", config[2])
    assert run_job(compose(f"results_dir={tmp_path / 'parts'}", *halves))["status"] == "done"
    started = tmp_path / "again" / job
    started.mkdir(parents=True)
    shutil.copy(tmp_path / "parts" / job / "last.ckpt", started / "last.ckpt")
    again = run_job(compose(f"results_dir={tmp_path / 'again'}", *config))
    first, second = (torch.load(tmp_path / name / job / "last.ckpt", weights_only=True) for name in ("whole", "again"))
    assert first["epoch"] == second["epoch"] == 4
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
    assert first["best_distances"] == second["best_distances"] and again["metrics"] == whole["metrics"]


def test_mixed_precision_trains_and_measures_in_full(tmp_path: Path) -> None:
    done = run_job(compose(f"results_dir={tmp_path}", "trainer.precision=bf16-mixed"))
    full = run_job(compose(f"results_dir={tmp_path / 'full'}"))
    assert done["status"] == full["status"] == "done"
    assert done["metrics"]["test/fd_random_floor"] == full["metrics"]["test/fd_random_floor"]
    assert done["metrics"]["train/loss"] == pytest.approx(full["metrics"]["train/loss"], rel=0.02)


def test_a_failed_job_names_its_last_good_checkpoint(tmp_path: Path) -> None:
    config = ("method.optimizer.lr=1e30", "trainer.checkpoint_seconds=0", f"results_dir={tmp_path}")
    failure = run_job(compose(*config))
    assert failure["status"] == "failed" and "the loss is no longer finite at epoch" in failure["error"]
    assert "config.yaml" in failure["error"]
