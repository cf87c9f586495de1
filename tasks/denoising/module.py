"""The LightningModule of every row of table 6.1: mean squared error, Adam, PSNR after every epoch (thesis 6.4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.denoising.data import MAIN, EvaluationBatch
from tasks.denoising.models import Denoiser
from tasks.denoising.pictures import write_pictures
from tasks.engine import ranks
from tasks.engine.image_quality import psnr, rounded, ssim
from tasks.engine.scored import ScoredModule


class Denoising(ScoredModule):
    """Learns noisy ↦ clean images.

    Logged per epoch: train/loss (MSE), val/psnr, grad/norm (before clipping), cost/g_evaluations (a batch in training),
    and for FPI layers solver/{forward,backward}_{iterations,residual,converged}. Tested: psnr, ssim, psnr_clipped and
    psnr_8bit of the denoised, psnr_noisy of the noisy images of the main set; psnr and ssim of every other.
    Training that diverges (a loss or gradient that is not finite) stops there, and train/diverged = 1 is logged: the
    epochs before it stand.

    Args:
        network: see `tasks.denoising.models.Denoiser`.
        optimizer: called with the parameters; not used for a network without.
        sigma: noise level trained for, in grey levels of 255; kept in the checkpoint.
    """

    network: Denoiser

    def __init__(
        self,
        network: Denoiser,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        sigma: float,
    ) -> None:
        super().__init__(network)
        self.optimizer, self.sigma = optimizer, sigma

    def configure_optimizers(self) -> torch.optim.Optimizer | None:
        parameters = list(self.network.parameters())
        return self.optimizer(parameters) if parameters else None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["denoiser"] = {**self.network.architecture, "sigma": float(self.sigma)}

    def on_train_epoch_start(self) -> None:
        self.sums, self.batches = {}, 0
        self.network.g_evaluations = 0
        self.network.begin_epoch(self.current_epoch, self.trainer.max_epochs or 1)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor | None:
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            return None  # nothing to learn
        noisy, truth = batch
        return self.finite(F.mse_loss(self.network(noisy), truth))

    def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, Tensor], index: int) -> None:
        if self.diverged:
            return
        self.network.after_step()
        for name, value in self.network.solver_metrics().items():
            self.add(f"solver/{name}", value)
        self.batches += 1

    def on_train_epoch_end(self) -> None:
        for name, total in ranks.mean(self.sums).items():
            self.log(name, total / max(1, self.batches))
        self.log("train/diverged", float(self.diverged))
        self.log_dict(ranks.mean({"cost/g_evaluations": self.network.g_evaluations}))

    def validation_step(self, batch: EvaluationBatch, index: int) -> None:
        _, noisy, truth = batch
        with torch.no_grad():
            self.score("val/psnr", psnr(self.network(noisy), truth))

    def test_step(self, batch: EvaluationBatch, index: int) -> None:
        which, noisy, truth = batch
        with torch.no_grad():
            image = self.network(noisy)
        if which.startswith(f"{MAIN}@"):
            self.score(f"test/psnr_at_{which.removeprefix(f'{MAIN}@')}", psnr(image, truth))
            return
        prefix = "test/" if which == MAIN else f"test/{which}_"
        self.score(f"{prefix}psnr", psnr(image, truth))
        self.score(f"{prefix}ssim", ssim(image, truth))
        if which == MAIN:
            self.score("test/psnr_clipped", psnr(image.clamp(0, 1), truth))
            self.score("test/psnr_8bit", psnr(rounded(image), truth))
            self.score("test/psnr_noisy", psnr(noisy, truth))

    def artifacts(self, directory: Path) -> dict[str, Path]:
        """Write the pictures of the figures and the quality at every iteration; returns the pictures by title."""
        batches = self.trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
        _, noisy, truth = next(iter(batches))
        return write_pictures(self.network, noisy.to(self.device), truth.to(self.device), directory)
