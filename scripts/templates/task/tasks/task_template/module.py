"""The LightningModule of every row: mean squared error, Adam."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.engine.lean import Module


class Regression(Module):
    """Learns z ↦ x. Logged an epoch: train/loss, test/loss, cost/g_evaluations, and the iterations of both solves.

    Args:
        model: maps z to x, batch first; an `fpi.FPILayer` or any module.
        learning_rate: Adam's.
    """

    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.model, self.learning_rate = model, learning_rate
        self.evaluations = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def on_train_epoch_start(self) -> None:
        self.evaluations = 0

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        z, x = batch
        loss = F.mse_loss(self.model(z), x)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(z))
        return loss

    def on_train_batch_end(self, outputs: object, batch: tuple[Tensor, Tensor], index: int) -> None:
        info: fpi.SolveInfo | None = getattr(self.model, "info", None)
        if info is None:
            self.evaluations += 1
            return
        for name, solve in (("forward", info), ("backward", info.backward)):
            if solve is not None:
                self.evaluations += solve.evaluations
                mean = solve.iterations.float().mean()
                self.log(f"solver/{name}_iterations", mean, on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        z, x = batch
        self.log("test/loss", F.mse_loss(self.model(z), x), batch_size=len(z))

    def on_validation_epoch_end(self) -> None:
        self.log("cost/g_evaluations", float(self.evaluations))
