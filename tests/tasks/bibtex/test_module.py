"""tasks.bibtex.module: threshold choice, logged metrics, network hooks."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from tasks.bibtex.data import GeneratedLabels
from tasks.bibtex.metrics import best_threshold
from tasks.bibtex.models.feedforward import FeedForward
from tasks.bibtex.module import GRID, MultiLabel
from tests.tasks.trainers import quiet


class Hooked(FeedForward):
    """A feedforward network with every optional hook."""

    def __init__(self) -> None:
        super().__init__(60, 20, [16])
        self.g_evaluations = 0
        self.epochs: list[int] = []
        self.steps = 0

    def begin_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def after_step(self) -> None:
        self.steps += 1

    def solver_metrics(self) -> dict[str, float]:
        return {"forward_iterations": 7.0}

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        self.g_evaluations += 3
        return super().loss(z, y)


def run(
    network: nn.Module, threshold: float | None, holdout: float, epochs: int = 2
) -> tuple[L.Trainer, MultiLabel, GeneratedLabels]:
    torch.manual_seed(0)
    data = GeneratedLabels(60, 20, batch_size=20, n_train=200, n_test=80, holdout=holdout)
    module = MultiLabel(network, partial(torch.optim.Adam, lr=3e-3), threshold=threshold)
    trainer = quiet(epochs)
    trainer.fit(module, data)
    return trainer, module, data


def test_the_threshold_is_chosen_on_the_validation_set_only() -> None:
    trainer, module, data = run(FeedForward(60, 20, [32]), threshold=None, holdout=0.25, epochs=4)
    z, y = data.val.tensors
    expected = best_threshold(module.network.predict(z), y, GRID)  # type: ignore[operator]
    assert float(module.val_threshold) == pytest.approx(float(expected))
    # labels of the test set do not matter to it
    data.test.tensors[1].fill_(1)
    before = float(module.val_threshold)
    trainer.test(module, data, verbose=False)
    assert float(module.val_threshold) == before == pytest.approx(float(trainer.callback_metrics["test/threshold"]))
    assert before != 0.5


def test_the_checkpoint_carries_the_threshold() -> None:
    module = MultiLabel(FeedForward(60, 20, [8]), torch.optim.Adam, threshold=None)
    module.val_threshold.fill_(0.14)
    other = MultiLabel(FeedForward(60, 20, [8]), torch.optim.Adam, threshold=None)
    other.load_state_dict(module.state_dict())
    assert float(other.val_threshold) == pytest.approx(0.14)


def test_a_fixed_threshold_stays() -> None:
    _, module, _ = run(FeedForward(60, 20, [8]), threshold=0.5, holdout=0.0)
    assert float(module.val_threshold) == 0.5


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 50])
def test_an_impossible_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="method.threshold"):
        MultiLabel(FeedForward(60, 20, [8]), torch.optim.Adam, threshold=threshold)


def test_hooks_are_called_and_metrics_logged(tmp_path: Path) -> None:
    network = Hooked()
    trainer, module, data = run(network, threshold=None, holdout=0.25)
    assert network.epochs == [0, 1]
    assert network.steps == 2 * 8  # 150 rows in batches of 20
    logged = trainer.callback_metrics
    assert float(logged["solver/forward_iterations"]) == 7
    assert float(logged["cost/g_evaluations"]) == 3 * 8  # of one epoch
    assert {"train/loss", "val/f1", "val/f1_micro", "val/f1_macro", "val/threshold"} <= set(logged)
    trainer.test(module, data, verbose=False)
    assert {f"test/{name}" for name in ("f1", "f1_micro", "f1_macro", "f1_at_half", "threshold")} <= set(
        trainer.callback_metrics
    )
    module.artifacts(tmp_path)
    rows = list(csv.DictReader((tmp_path / "threshold.csv").open()))
    assert [float(row["threshold"]) for row in rows] == pytest.approx(GRID.tolist())
    half = next(row for row in rows if row["threshold"] == "0.5")
    assert float(half["f1"]) == pytest.approx(float(trainer.callback_metrics["test/f1_at_half"]), abs=1e-4)


def test_schedules_advance_by_step_or_epoch() -> None:
    network = FeedForward(60, 20, [8])
    for interval, expected in (("epoch", 0.1), ("step", 1e-4)):
        data = GeneratedLabels(60, 20, batch_size=50, n_train=200, n_test=10)
        module = MultiLabel(
            network, partial(torch.optim.SGD, lr=1.0), partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1),
            scheduler_interval=interval,
        )  # fmt: skip
        trainer = quiet(1)
        trainer.fit(module, data)
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(expected)
