"""The LightningModule of every row of table 5.1: trains a network, chooses a threshold, logs F1 scores in percent.

A network is an nn.Module with `loss(z, y) -> scalar` and `predict(z) -> (batch, labels)` scores in [0, 1]. It may offer
`parameter_groups()`, `begin_epoch(epoch)`, `after_step()`, `solver_metrics() -> dict[str, float]`, a counter
`g_evaluations`, and `distributes` (see `tasks.engine.ranks`). A network whose `predict` differentiates an energy
enables gradients itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks.bibtex.metrics import best_threshold, f1_scores
from tasks.engine import ranks
from tasks.engine.lean import Module
from tasks.engine.store import write_csv

GRID = torch.arange(1, 50) * 0.02  # 0.02, 0.04, ... 0.98


class MultiLabel(Module):
    """Multi-label classification with a fixed threshold or one chosen on the validation set.

    Args:
        network: see the module's docstring.
        optimizer: called with the parameters (or the network's parameter groups).
        scheduler: called with the optimiser; None: constant learning rate.
        scheduler_interval: "epoch" | "step": when the scheduler advances.
        threshold: a label is predicted when its score is above it. None: the best on the validation set among GRID,
            chosen again at every validation and kept in the checkpoint, so that the test uses the best epoch's.
    """

    val_threshold: Tensor

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        scheduler_interval: str = "epoch",
        threshold: float | None = 0.5,
    ) -> None:
        super().__init__()
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f"method.threshold must be in [0, 1) or null (chosen on validation), got {threshold}")
        self.network: Any = network  # duck-typed: see the module's docstring
        self.optimizer, self.scheduler, self.scheduler_interval = optimizer, scheduler, scheduler_interval
        self.threshold = threshold
        self.register_buffer("val_threshold", torch.tensor(0.5 if threshold is None else float(threshold)))
        self.outputs: list[tuple[Tensor, Tensor]] = []
        self.sums: dict[str, float | Tensor] = {}  # of an epoch; Lightning's averaging costs more than a step
        self.batches = 0
        self.curve: list[dict[str, float]] = []  # test scores against the threshold, for the figures

    @property
    def distributes(self) -> bool:
        """Whether the network's loss is a mean over the samples of a batch."""
        return bool(getattr(self.network, "distributes", False))

    def configure_optimizers(self) -> Any:
        groups = getattr(self.network, "parameter_groups", self.network.parameters)
        optimizer = self.optimizer(groups())
        if self.scheduler is None:
            return optimizer
        schedule = {"scheduler": self.scheduler(optimizer), "interval": self.scheduler_interval}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_start(self) -> None:
        self.sums, self.batches = {}, 0
        self._call("begin_epoch", self.current_epoch)
        if hasattr(self.network, "g_evaluations"):
            self.network.g_evaluations = 0

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        z, y = batch
        loss: Tensor = self.network.loss(z, y)
        self._add("train/loss", loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._call("after_step")
        for name, value in (self._call("solver_metrics") or {}).items():
            self._add(f"solver/{name}", value)
        self.batches += 1

    def on_train_epoch_end(self) -> None:
        for name, total in ranks.mean(self.sums).items():
            self.log(name, total / self.batches)
        if hasattr(self.network, "g_evaluations"):
            self.log_dict(ranks.mean({"cost/g_evaluations": self.network.g_evaluations}))

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        z, y = batch
        self.outputs.append((self.network.predict(z), y))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        scores, labels = self._collect()
        if self.threshold is None:
            self.val_threshold.copy_(best_threshold(scores, labels, GRID.to(scores)))
        for name, value in f1_scores(scores, labels, self.val_threshold[None]).items():
            self.log(f"val/{name}", value[0].float())
        self.log("val/threshold", self.val_threshold)

    def on_test_epoch_end(self) -> None:
        scores, labels = self._collect()
        thresholds = torch.cat([self.val_threshold[None], self.val_threshold.new_tensor([0.5])])
        results = f1_scores(scores, labels, thresholds)
        for name, value in results.items():
            self.log(f"test/{name}", value[0].float())
        self.log("test/f1_at_half", results["f1"][1].float())
        self.log("test/threshold", self.val_threshold)
        curve = f1_scores(scores, labels, GRID.to(scores))
        self.curve = [
            {"threshold": round(float(t), 2), **{name: float(values[i]) for name, values in curve.items()}}
            for i, t in enumerate(GRID)
        ]

    def artifacts(self, directory: Path) -> None:
        """Write threshold.csv: the tested epoch's F1 on the test set at every threshold (a diagnosis, no selection)."""
        if self.curve:
            write_csv(directory / "threshold.csv", self.curve)

    def _add(self, name: str, value: float | Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value * ranks.share()

    def _collect(self) -> tuple[Tensor, Tensor]:
        scores, labels = (torch.cat(parts) for parts in zip(*ranks.gathered(self.outputs), strict=True))
        self.outputs.clear()
        return scores, labels

    def _call(self, name: str, *args: Any) -> Any:
        method = getattr(self.network, name, None)
        return None if method is None else method(*args)
