"""The LightningModule of every row of table 1: what is logged, validated and tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.engine import ranks
from tasks.engine.image_quality import psnr, ssim
from tasks.engine.scored import ScoredModule
from tasks.restoration.data import MAIN, EvaluationBatch
from tasks.restoration.models import Restorer
from tasks.restoration.operators import Problem
from tasks.restoration.pictures import write_pictures
from tasks.restoration.podm import start


class Restoration(ScoredModule):
    """Trains a row, or tries its candidate settings, and scores it.

    Logged per epoch: train/loss (MSE; of the denoiser for rows around one), val/psnr, grad/norm (before clipping),
    cost/g_evaluations (a batch in training), and for FPI layers solver/{forward,backward}_{iterations,residual,
    converged}. Tested: psnr, ssim and psnr_input (of what the methods start from) of the main set, psnr and ssim of
    every other. Training that diverges (a loss or gradient that is not finite) stops, and train/diverged = 1 is logged.

    Args:
        network: the row.
        optimizer, scheduler: called with the parameters, and with the optimiser; not used without parameters.
    """

    network: Restorer

    def __init__(
        self,
        network: Restorer,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler],
    ) -> None:
        super().__init__(network)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.learning = False  # in this epoch, anything

    def configure_optimizers(self) -> Any:
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        if not parameters:
            return None
        optimizer = self.optimizer(parameters)
        return [optimizer], [self.scheduler(optimizer)]

    def on_train_epoch_start(self) -> None:
        self.sums, self.batches = {}, 0
        self.network.g_evaluations = 0.0
        self.network.begin_epoch(self.current_epoch)

    def training_step(self, batch: tuple[Problem, Tensor], index: int) -> Tensor | None:
        loss = self.network.training_loss(*batch)
        self.learning = loss is not None and loss.requires_grad
        return self.finite(loss) if loss is not None and self.learning else None

    def on_train_batch_end(self, outputs: Any, batch: tuple[Problem, Tensor], index: int) -> None:
        if self.diverged or not self.learning:
            return
        for name, value in self.network.solver_metrics().items():
            self.add(f"solver/{name}", value)
        self.batches += 1

    def on_train_epoch_end(self) -> None:
        for name, total in ranks.mean(self.sums).items() if self.batches else ():
            self.log(name, total / self.batches)
        self.log("train/diverged", float(self.diverged))
        self.log_dict(ranks.mean({"cost/g_evaluations": self.network.g_evaluations}))

    def validation_step(self, batch: EvaluationBatch, index: int) -> None:
        _, problem, truth = batch
        with torch.no_grad():
            self.score("val/psnr", psnr(self.network(problem), truth))

    def test_step(self, batch: EvaluationBatch, index: int) -> None:
        which, problem, truth = batch
        with torch.no_grad():
            image = self.network(problem)
        prefix = "test/" if which == MAIN else f"test/{which}_"
        self.score(f"{prefix}psnr", psnr(image, truth))
        self.score(f"{prefix}ssim", ssim(image, truth))
        if which == MAIN:
            self.score("test/psnr_input", psnr(start(problem), truth))

    def artifacts(self, directory: Path) -> dict[str, Path]:
        """Write the pictures and curves of the figures; returns the pictures by title."""
        batches = self.trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
        _, problem, truth = next(iter(batches))
        problem = Problem(*(part.to(self.device) for part in problem))
        return write_pictures(self.network, problem, truth.to(self.device), directory)
