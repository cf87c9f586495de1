"""The LightningModule of every row of table 6.1: mean squared error, Adam, PSNR after every epoch (thesis 6.4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.denoising.data import MAIN, EvaluationBatch
from tasks.denoising.models import Denoiser
from tasks.denoising.pictures import write_pictures
from tasks.engine.image_quality import psnr, rounded, ssim


class Denoising(L.LightningModule):
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

    def __init__(
        self,
        network: Denoiser,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        sigma: float,
    ) -> None:
        super().__init__()
        self.network, self.optimizer, self.sigma = network, optimizer, sigma
        self.scores: dict[str, list[Tensor]] = {}
        self.sums: dict[str, float | Tensor] = {}  # of an epoch
        self.batches = 0
        self.diverged = False

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
        loss = F.mse_loss(self.network(noisy), truth)
        if not torch.isfinite(loss):
            self._stop()
            return None  # no optimiser step
        self._add("train/loss", loss.detach())
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).detach()
        if torch.isfinite(norm):
            self._add("grad/norm", norm)
        else:
            self._stop()
            self.network.zero_grad()  # without gradients, the optimiser leaves the weights

    def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, Tensor], index: int) -> None:
        if self.diverged:
            return
        self.network.after_step()
        for name, value in self.network.solver_metrics().items():
            self._add(f"solver/{name}", value)
        self.batches += 1

    def on_train_epoch_end(self) -> None:
        for name, total in self.sums.items():
            self.log(name, float(total) / max(1, self.batches))
        self.log("train/diverged", float(self.diverged))
        self.log("cost/g_evaluations", float(self.network.g_evaluations))

    def validation_step(self, batch: EvaluationBatch, index: int) -> None:
        _, noisy, truth = batch
        with torch.no_grad():
            self._score("val/psnr", psnr(self.network(noisy), truth))

    def on_validation_epoch_end(self) -> None:
        self._log_scores()

    def test_step(self, batch: EvaluationBatch, index: int) -> None:
        which, noisy, truth = batch
        with torch.no_grad():
            image = self.network(noisy)
        if which.startswith(f"{MAIN}@"):
            self._score(f"test/psnr_at_{which.removeprefix(f'{MAIN}@')}", psnr(image, truth))
            return
        prefix = "test/" if which == MAIN else f"test/{which}_"
        self._score(f"{prefix}psnr", psnr(image, truth))
        self._score(f"{prefix}ssim", ssim(image, truth))
        if which == MAIN:
            self._score("test/psnr_clipped", psnr(image.clamp(0, 1), truth))
            self._score("test/psnr_8bit", psnr(rounded(image), truth))
            self._score("test/psnr_noisy", psnr(noisy, truth))

    def on_test_epoch_end(self) -> None:
        self._log_scores()

    def artifacts(self, directory: Path) -> dict[str, Path]:
        """Write the pictures of the figures and the quality at every iteration; returns the pictures by title."""
        batches = self.trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
        _, noisy, truth = next(iter(batches))
        return write_pictures(self.network, noisy.to(self.device), truth.to(self.device), directory)

    def _stop(self) -> None:
        self.diverged = True
        self.trainer.should_stop = True

    def _add(self, name: str, value: float | Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def _score(self, name: str, values: Tensor) -> None:
        self.scores.setdefault(name, []).append(values.cpu())

    def _log_scores(self) -> None:
        """Log the mean over the images of every score."""
        for name, parts in self.scores.items():
            self.log(name, torch.cat(parts).mean().float())
        self.scores = {}
