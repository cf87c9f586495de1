"""The LightningModule of every toy row: mean squared error through a fixed point, Adam (thesis 5.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.engine.store import write_csv
from tasks.toy.shapes import loss_per_step, objective_along_directions

SKIPPABLE = 0.05  # of an epoch's batches


class ToyRegression(pl.LightningModule):
    """Learns a ↦ t(a) by MSE with Adam; the test loss is logged after every epoch (figure 5.2) and selects nothing.

    Logged per epoch: train/loss, test/loss, diverged (0 or 1), skipped_batches (so far), cost/g_evaluations (evaluations
    of g on a batch, forward and backward, training and test; one a batch for a network without iterations), and for
    FPI layers solver/forward_iterations and solver/forward_residual (means over the training samples) with, where the
    adjoint is iterative, solver/backward_iterations.

    Args:
        model: maps a to x̂, both of shape (batch, dim); an :class:`fpi.FPILayer` or any module.
        learning_rate: Adam's (the thesis names Adam, not the rate).
        tolerate_divergence: what a non-finite loss is. False: the batch is skipped and counted, for one sample whose
            descent explodes carries no gradient; more than a twentieth of an epoch's batches, or a non-finite test
            loss, is an error. True: the row's result; training stops, and diverged = 1 and diverged_after_steps
            (optimiser steps taken before) are logged in place of losses.

    Raises:
        fpi.FixedPointError: in training or test, non-finite losses that are not tolerated.
    """

    def __init__(self, model: nn.Module, learning_rate: float = 1e-3, tolerate_divergence: bool = False) -> None:
        super().__init__()
        self.model = model
        self.learning_rate = learning_rate
        self.tolerate_divergence = tolerate_divergence
        self.diverged_after: int | None = None
        self.g_evaluations = 0
        self.skipped = self.skipped_in_epoch = 0
        self.finite = True  # the latest training loss

    def forward(self, a: Tensor) -> Tensor:
        x: Tensor = self.model(a)
        self.g_evaluations += 1 if self._info is None else self._info.evaluations
        return x

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped_batches"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped = checkpoint.get("skipped_batches", 0)

    def on_train_epoch_start(self) -> None:
        self.g_evaluations = self.skipped_in_epoch = 0

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor | None:
        a, t = batch
        loss = F.mse_loss(self(a), t)
        self.finite = bool(torch.isfinite(loss))
        if not self.finite:
            self.skipped_in_epoch += 1
            if self.tolerate_divergence or self.skipped_in_epoch > SKIPPABLE * self.trainer.num_training_batches:
                self._diverged(loss)
            self.skipped += 1
            return None  # no optimiser step
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(a))
        return loss

    def on_train_batch_end(self, outputs: object, batch: tuple[Tensor, Tensor], index: int) -> None:
        if self._info is None or not self.finite:
            return
        values = {"forward_iterations": self._info.iterations, "forward_residual": self._info.residual}
        if self._info.backward is not None:
            values["backward_iterations"] = self._info.backward.iterations
            self.g_evaluations += self._info.backward.evaluations
        for name, value in values.items():
            self.log(f"solver/{name}", value.float().mean(), on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        if self.diverged_after is not None:
            return
        a, t = batch
        loss = F.mse_loss(self(a), t)
        if not torch.isfinite(loss):
            self._diverged(loss)
        else:
            self.log("test/loss", loss, on_step=False, on_epoch=True, batch_size=len(a))

    def on_validation_epoch_end(self) -> None:
        self.log("diverged", float(self.diverged_after is not None))
        self.log("skipped_batches", float(self.skipped))
        if self.diverged_after is not None:
            self.log("diverged_after_steps", float(self.diverged_after))
        self.log("cost/g_evaluations", float(self.g_evaluations))

    def artifacts(self, directory: Path) -> None:
        """Write, for an FPI_GD that has not diverged, steps.csv (figure 5.3) and objective.csv (figure 5.4).

        Both are of the last epoch's weights on the test set; objective.csv is of its first sample.
        """
        if not isinstance(self.model, fpi.FPI_GD) or self.diverged_after is not None:
            return
        a, t = (tensor.to(self.device) for tensor in self.trainer.datamodule.test_set)  # type: ignore[attr-defined]
        write_csv(directory / "steps.csv", loss_per_step(self.model, a, t))
        write_csv(directory / "objective.csv", objective_along_directions(self.model, a[0], t[0]))

    @property
    def _info(self) -> fpi.SolveInfo | None:
        return getattr(self.model, "info", None)

    def _diverged(self, loss: Tensor) -> None:
        if not self.tolerate_divergence:
            raise fpi.FixedPointError(
                f"the loss became {loss.item()} in epoch {self.current_epoch} after {self.global_step} optimiser "
                "steps: the iteration diverges. Lower method.model.init_scale or method.model.step_size, or set "
                "method.tolerate_divergence=true to record the divergence as this row's result."
            )
        self.diverged_after = self.global_step
        self.trainer.should_stop = True
