"""Training with Lightning: what is logged, divergence as a result or as an error, and the CSV artefacts."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

import fpi
from tasks.toy.data import ToyData
from tasks.toy.models import feedforward, fpi_gd, fpi_nn
from tasks.toy.module import ToyRegression
from tests.tasks.trainers import quiet


def gd(init_scale: float = 0.1, steps: int = 50) -> fpi.FPI_GD:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=steps, check_every=steps, on_failure="ignore")
    return fpi_gd(10, 64, 64, 1e3, solver, fpi.Dense(terms=steps), init_scale=init_scale)


def fit(module: ToyRegression, epochs: int = 2) -> pl.Trainer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = quiet(epochs)
        trainer.fit(module, datamodule=ToyData("box", seed=0, train_samples=300, test_samples=40))
    return trainer


def test_training_learns_and_logs_losses_and_cost() -> None:
    module = ToyRegression(gd(), learning_rate=3e-3)
    first = {name: value.item() for name, value in fit(module, 1).logged_metrics.items()}
    last = {name: value.item() for name, value in fit(module, 4).logged_metrics.items()}
    assert last["train/loss"] < first["train/loss"] and last["test/loss"] < first["test/loss"]
    assert first["solver/forward_iterations"] == 50 and first["solver/forward_residual"] > 0
    assert first["cost/g_evaluations"] == 4 * 50  # three training batches and the test set
    assert first["diverged"] == 0 and "diverged_after_steps" not in first


def test_iterative_adjoints_and_plain_networks_count_their_evaluations() -> None:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=7, on_failure="ignore")
    metrics = fit(ToyRegression(fpi_nn(10, 32, solver, fpi.BackwardFPI(solver))), 1).logged_metrics
    assert metrics["solver/backward_iterations"] == 7
    assert metrics["cost/g_evaluations"] == 3 * (7 + 7) + 7
    assert fit(ToyRegression(feedforward(10, 32)), 1).logged_metrics["cost/g_evaluations"] == 4


def test_tolerated_divergence_is_a_result_without_nan(tmp_path: Path) -> None:
    module = ToyRegression(gd(init_scale=1.0, steps=1000), tolerate_divergence=True)
    before = [parameter.clone() for parameter in module.parameters()]
    trainer = fit(module, epochs=5)
    assert trainer.current_epoch == 1  # stopped
    metrics = {name: value.item() for name, value in trainer.logged_metrics.items()}
    assert metrics["diverged"] == 1 and metrics["diverged_after_steps"] == 0
    assert not {"train/loss", "test/loss"} & set(metrics)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    module.artifacts(tmp_path)
    assert not list(tmp_path.iterdir())


def test_divergence_is_an_error_otherwise() -> None:
    with pytest.raises(fpi.FixedPointError, match="epoch 0 after 0 optimiser steps.*tolerate_divergence=true"):
        fit(ToyRegression(gd(init_scale=1.0, steps=1000)))


class FailsLate(nn.Module):
    """A network that returns nan from its fifth training call on, as a layer whose descent becomes unstable does."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.calls = feedforward(10, 32), 0

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return self.net(a) * (float("nan") if self.calls >= 5 else 1.0)


def test_divergence_after_the_first_epoch_is_a_result() -> None:
    trainer = fit(ToyRegression(FailsLate()), epochs=4)
    metrics = trainer.logged_metrics
    assert trainer.current_epoch == 2  # stopped
    assert metrics["diverged"] == 1 and metrics["diverged_after_steps"] == 4


def test_artifacts_hold_the_loss_per_step_and_the_objective(tmp_path: Path) -> None:
    module = ToyRegression(gd(), learning_rate=3e-3)
    trainer = fit(module, 2)
    module.artifacts(tmp_path)
    with open(tmp_path / "steps.csv", encoding="utf-8") as stream:
        steps = {int(row["step"]): float(row["test_loss"]) for row in csv.DictReader(stream)}
    a, t = trainer.datamodule.test_set  # type: ignore[attr-defined]
    assert list(steps) == sorted(steps) and steps[0] == pytest.approx(t.square().mean().item())
    assert max(steps) == 50 and steps[50] == pytest.approx(trainer.logged_metrics["test/loss"].item(), rel=1e-4)
    with open(tmp_path / "objective.csv", encoding="utf-8") as stream:
        curve = {float(row["distance"]): (float(row["mean"]), float(row["sd"])) for row in csv.DictReader(stream)}
    energy = module.model.g.energy  # type: ignore[union-attr]
    at_target = energy(t[:1], energy.inject(a[:1])).item()  # type: ignore[operator, union-attr]
    assert curve[0.0] == pytest.approx((at_target, 0.0), rel=1e-4, abs=1e-7)
    assert min(curve) == -2 and max(curve) == 2 and curve[2.0][1] > 0


def test_only_fpi_gd_has_artifacts(tmp_path: Path) -> None:
    module = ToyRegression(feedforward(10, 32))
    fit(module, 1)
    module.artifacts(tmp_path)
    assert not list(tmp_path.iterdir())
