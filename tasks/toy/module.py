"""The LightningModule of every toy row: mean squared error through a fixed point, Adam (thesis 5.1)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.engine.lean import Module
from tasks.engine.store import write_csv
from tasks.toy.shapes import loss_per_step, objective_along_directions


class ToyRegression(Module):
    """Learns a ↦ t(a) by MSE with Adam; the test loss is logged after every epoch (figure 5.2) and selects nothing.

    Logged per epoch: train/loss, test/loss, diverged (0 or 1), cost/g_evaluations (evaluations of g on a batch, forward
    and backward, training and test; one a batch for a network without iterations), and for FPI layers
    solver/forward_iterations and solver/forward_residual (means over the training samples) with, where the adjoint is
    iterative, solver/backward_iterations.

    Args:
        model: maps a to x̂, both of shape (batch, dim); an :class:`fpi.FPILayer` or any module.
        learning_rate: Adam's (the thesis names Adam, not the rate).
        tolerate_divergence: whether a non-finite loss in the *first* epoch, a set-up that never works, is this row's
            result or an error. Later it is a result in any case: training stops, and diverged = 1 and
            diverged_after_steps (optimiser steps taken before) are logged in place of losses.

    Raises:
        fpi.FixedPointError: a non-finite loss in the first epoch that is not tolerated.
    """

    def __init__(self, model: nn.Module, learning_rate: float = 1e-3, tolerate_divergence: bool = False) -> None:
        super().__init__()
        self.model = model
        self.learning_rate = learning_rate
        self.tolerate_divergence = tolerate_divergence
        self.diverged_after: int | None = None
        self.g_evaluations = 0

    def forward(self, a: Tensor) -> Tensor:
        x: Tensor = self.model(a)
        self.g_evaluations += 1 if self._info is None else self._info.evaluations
        return x

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def on_train_epoch_start(self) -> None:
        self.g_evaluations = 0

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor | None:
        a, t = batch
        loss = F.mse_loss(self(a), t)
        if not torch.isfinite(loss):
            self._diverged(loss)
            return None  # no optimiser step
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(a))
        return loss

    def on_train_batch_end(self, outputs: object, batch: tuple[Tensor, Tensor], index: int) -> None:
        if self._info is None or self.diverged_after is not None:
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
        if self.current_epoch == 0 and not self.tolerate_divergence:
            raise fpi.FixedPointError(
                f"the loss became {loss.item()} in epoch 0 after {self.global_step} optimiser "
                "steps: the iteration diverges. Lower method.model.init_scale or method.model.step_size, or set "
                "method.tolerate_divergence=true to record the divergence as this row's result."
            )
        self.diverged_after = self.global_step
        self.trainer.should_stop = True
