"""tasks.classification.module: what is logged and tested, eval mode, costs, resuming."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import pytest
import torch

import fpi
from tasks.classification.data import DigitsData
from tasks.classification.module import LOSSES, Classification
from tasks.classification.network import Classifier
from tasks.engine.job import run_job
from tasks.engine.store import read_csv
from tests.tasks.trainers import quiet

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def make(adjoint: fpi.Adjoint, architecture: str = "conv", probe: int = 2, loss: Any = "mse") -> Classification:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Absolute(1e-8), on_failure="ignore")
    network = Classifier(architecture, (1, 16, 16), solver, adjoint)
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    return Classification(network, partial(torch.optim.Adam, lr=1e-2), schedule, loss, probe)


def fit(module: Classification, epochs: int = 2, **options: object) -> tuple[L.Trainer, DigitsData]:
    data = DigitsData(**({"image_shape": (1, 16, 16), "batch_size": 50, "n_train": 200, "n_test": 60} | options))  # type: ignore[arg-type]
    trainer = quiet(epochs)
    trainer.fit(module, data)
    return trainer, data


def test_metrics_of_a_jacobian_based_row() -> None:
    module = make(fpi.NormalCG(criterion=fpi.Relative(1e-8)), "fc")
    trainer, data = fit(module)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["solver/forward_converged"] == logged["solver/backward_converged"] == 1
    # two epochs of 200 samples; an iteration of conjugate gradients takes two products
    assert logged["cost/jacobian_products"] > 2 * 2 * 200 * 0.8 * logged["solver/backward_iterations"]
    assert logged["cost/g_evaluations"] > 4 * logged["solver/forward_iterations"]
    assert len(module.seconds) == 2 and logged["cost/train_seconds"] == pytest.approx(sum(module.seconds), rel=1e-5)
    assert 0.999 * min(module.seconds) <= logged["cost/seconds_per_epoch"] <= 1.001 * max(module.seconds)  # float32
    assert 0 < logged["jfb/cosine_min"] <= 1 and 0 < logged["jfb/norm"] <= 0.9
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-2 / 4)
    trainer.test(module, data, verbose=False)
    images, labels = (torch.cat(parts) for parts in zip(*data.test_dataloader(), strict=True))
    with torch.no_grad():
        right = (module.network.eval()(images).argmax(1) == labels).double().mean()
    assert float(trainer.callback_metrics["test/accuracy"]) == pytest.approx(100 * float(right), abs=1e-4)


def test_evaluation_is_in_eval_mode() -> None:
    module = make(fpi.JacobianFree(), probe=0)
    modes: list[bool] = []
    module.network.features.register_forward_hook(lambda *_: modes.append(module.network.training))
    trainer, data = fit(module, epochs=1, eval_batch_size=25)
    assert modes == [True] * 4 + [False] * 3
    first = trainer.test(module, data, verbose=False)[0]["test/loss"]
    again = trainer.test(module, data, verbose=False)[0]["test/loss"]
    assert first == again  # dropout would change it
    assert "jfb/cosine" not in trainer.callback_metrics and module.products == 0


def test_what_other_processes_do_on_the_core_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Classification.training_step
    monkeypatch.setattr(Classification, "training_step", lambda *args: (time.sleep(0.3), original(*args))[1])
    module = make(fpi.JacobianFree(), "fc", probe=0)
    fit(module, epochs=1)
    assert 0 < module.seconds[0] < 4 * 0.3  # four batches were kept waiting for so long


def test_training_learns_the_digits() -> None:
    trainer, _ = fit(make(fpi.JacobianFree(), "fc", probe=0), epochs=4, n_train=1437)
    assert float(trainer.callback_metrics["val/accuracy"]) > 80


def test_losses_are_of_one_hot_labels_and_of_logits() -> None:
    outputs, labels = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1])
    assert float(LOSSES["mse"](outputs, labels)) == pytest.approx((0 + 0 + 4 + 1) / 4)
    expected = torch.logsumexp(outputs, 1) - outputs[:, 1]
    assert float(LOSSES["cross_entropy"](outputs, labels)) == pytest.approx(float(expected.mean()))
    with pytest.raises(ValueError, match="one of mse, cross_entropy, got 'hinge'"):
        make(fpi.JacobianFree(), loss="hinge")


def compose(tmp_path: Path, epochs: int) -> Any:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose(
            "train",
            [
                *("experiment=classification/conv_normal_cg", "profile=smoke", f"results_dir={tmp_path}"),
                *(f"trainer.max_epochs={epochs}", "trainer.checkpoint_seconds=0", "protocol=honest"),
            ],
        )


def test_an_interrupted_job_ends_as_one_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_job(compose(tmp_path / "whole", 3))
    assert whole["status"] == "done" and whole["stand_in"]

    class Killed(BaseException):
        pass

    original = Classification.on_train_epoch_start

    def kill(self: Classification) -> None:
        if self.current_epoch == 2:
            raise Killed
        original(self)

    monkeypatch.setattr(Classification, "on_train_epoch_start", kill)
    with pytest.raises(Killed):
        run_job(compose(tmp_path / "parts", 3))
    monkeypatch.undo()
    resumed = run_job(compose(tmp_path / "parts", 3))
    folder = Path("smoke/classification/conv_normal_cg-honest/seed0")
    rows = [read_csv(tmp_path / part / folder / "metrics.csv") for part in ("whole", "parts")]
    timed = {"seconds", "cost/train_seconds", "cost/seconds_per_epoch"}
    for a, b in zip(*rows, strict=True):
        assert {key: a[key] for key in a.keys() - timed} == {key: b[key] for key in b.keys() - timed}
    assert rows[1][2]["cost/train_seconds"] > rows[1][1]["cost/train_seconds"]
    assert resumed["metrics"]["test/accuracy"] == whole["metrics"]["test/accuracy"]
    shutil.rmtree(tmp_path / "parts")
