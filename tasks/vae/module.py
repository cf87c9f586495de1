"""The LightningModule of every row of figure 6.11: a VAE whose encoder's mean FPI_GD replaces from some epoch on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import fpi
from tasks.engine import console
from tasks.engine.lean import Module
from tasks.vae.data import as_float
from tasks.vae.distances import Distance, build
from tasks.vae.generation import Generation
from tasks.vae.inversion import BatchNorm, Inversion
from tasks.vae.networks import VAE
from tasks.vae.pictures import write_pictures

# 30 evaluations, as many as the thesis allows the layer
INVERSE = fpi.LBFGS(max_iter=30, on_failure="ignore", compact=False)


class ImageGeneration(Module):
    """Trains a VAE; in the second half, with an `inversion`, the mean of the latent is FPI_GD's (thesis 6.3).

    Up to then an arm with an inversion does exactly what the plain one does: the same weights, bit by bit. The standard
    deviation is the encoder's throughout ("shared").

    Logged per epoch: train/{loss,mse,kl}; test/mse, the reconstruction error of held-out images by the row's own
    encoding, test/mse_encoder by the encoder's mean, and in the last epoch test/mse_inverse by `fpi.invert`; with an
    inversion solver/{forward,backward}_{iterations,residual,converged} and test/{steps,change,distance}: iterations,
    ‖Δ‖² of the last (eq. 5.6) and ‖x̂ − x0‖. From the second half on, test/<name> for every Fréchet distance that can be
    had (`tasks.vae.features`), its lowest value so far test/<name>_best and its floor test/<name>_floor.

    Args:
        network: the VAE.
        optimizer: called with the parameters.
        kl_weight: of the Kullback-Leibler term beside the mean squared error (AntixK's program: 144 / 162,770).
        inversion: what replaces the encoder's mean; None: nothing does.
        first_half: share of the epochs that are plain in every row (thesis: 30 of 60).
        learning_rate_decay: factor on the learning rate after every epoch; 1: constant.
        distances: names of Fréchet distances; those that cannot be had here are named and left out.
        seed, generate_batch_norm: of what is generated, see `Generation`.
        tolerate_divergence: whether training that is not finite ends as a result (diverged = 1), not as an error.
        compile: whether encoder and decoder are compiled (torch.compile).

    Raises:
        ValueError: an option out of its range; naming the key.
    """

    def __init__(
        self,
        network: VAE,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        kl_weight: float,
        inversion: Inversion | None = None,
        first_half: float = 0.5,
        learning_rate_decay: float = 1.0,
        distances: Sequence[str] = (),
        seed: int = 0,
        generate_batch_norm: BatchNorm = "running",
        tolerate_divergence: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= first_half <= 1:
            raise ValueError(f"method.first_half must be in [0, 1], got {first_half}")
        if not kl_weight >= 0:
            raise ValueError(f"method.kl_weight must be at least 0, got {kl_weight}")
        self.network, self.optimizer, self.inversion = network, optimizer, inversion
        if inversion is not None:
            inversion.build(network.hidden, network.latent, network.size)
        self.kl_weight, self.first_half, self.learning_rate_decay = kl_weight, first_half, learning_rate_decay
        self.distance_names = list(distances)
        self.generation = Generation(network, seed, generate_batch_norm)
        self.tolerate_divergence, self.compile_networks = tolerate_divergence, compile
        self.distances: list[Distance] | None = None
        self.best: dict[str, float] = {}
        self.sums: dict[str, float | Tensor] = {}  # of an epoch
        self.batches = 0
        self.last: tuple[int, Tensor] | None = None  # the step before and its loss
        self.diverged = False

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(list(self.parameters()))
        if self.learning_rate_decay == 1:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, self.learning_rate_decay)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["best_distances"] = self.best

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best = dict(checkpoint["best_distances"])

    def on_fit_start(self) -> None:
        if self.device.type == "cuda":  # the rows' first halves are the same only if the kernels repeat themselves
            torch.backends.cudnn.deterministic = True
        if self.compile_networks:
            self.network.encoder.compile()
            self.network.decoder.compile()

    @property
    def second_half(self) -> bool:
        """Whether the present epoch belongs to it."""
        return self.current_epoch >= round(self.first_half * (self.trainer.max_epochs or 1))

    def mean(self, images: Tensor, x0: Tensor, inverted: bool) -> Tensor:
        """The mean of the latent for images on [−1, 1]: the encoder's x0, or FPI_GD's."""
        if self.inversion is None or not inverted:
            return x0
        found: Tensor = self.inversion(self.network.decoder, images, x0)
        return found

    def on_train_epoch_start(self) -> None:
        self.sums, self.batches, self.last = {}, 0, None

    def training_step(self, batch: Tensor, index: int) -> Tensor | None:
        if self._lost() or self.diverged:
            return None
        images = as_float(batch)
        x0, log_variance = self.network.encoder(images)
        mean = self.mean(images, x0, self.second_half)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        error = F.mse_loss(self.network.decoder(z), images)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        loss = error + self.kl_weight * divergence
        for name, value in (("loss", loss), ("mse", error), ("kl", divergence)):
            self._add(f"train/{name}", value.detach())
        self.last = (index, loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Tensor, index: int) -> None:
        self.batches += 1
        if self.inversion is None or not self.second_half or self.inversion.info is None:
            return
        info = self.inversion.info
        for direction, solve in (("forward", info), ("backward", info.backward)):
            if solve is not None:
                for name in ("iterations", "residual", "converged"):
                    self._add(f"solver/{direction}_{name}", getattr(solve, name).float().mean())
                self._add("cost/g_evaluations", float(solve.evaluations))

    def on_train_epoch_end(self) -> None:
        self._lost()
        for name, total in self.sums.items():
            self.log(name, float(total) / (1 if name.startswith("cost/") else max(1, self.batches)))
        self.log("diverged", float(self.diverged))

    def validation_step(self, batch: Tensor, index: int) -> None:
        images = as_float(batch)
        x0, _ = self.network.encoder(images)
        with torch.no_grad():
            mean = self.mean(images, x0, self.second_half)
            encodings = {"mse": mean, "mse_encoder": x0}
            if self.current_epoch + 1 == self.trainer.max_epochs:
                encodings["mse_inverse"] = fpi.invert(self.network.decoder, images, x0, solver=INVERSE)
            for name, latent in encodings.items():
                error = (self.network.decoder(latent) - images).square().mean()
                self.log(f"test/{name}", error, batch_size=len(batch))
        if self.inversion is not None and self.second_half and self.inversion.info is not None:
            info = self.inversion.info
            for name, value in (
                ("steps", info.iterations.float()),
                ("change", info.residual),
                ("distance", (mean - x0).norm(dim=1)),
            ):
                self.log(f"test/{name}", value.mean(), batch_size=len(batch))

    def on_validation_epoch_end(self) -> None:
        if not self.second_half or self.diverged:
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        for distance in self._distances():
            value = distance(self.generation.images(data.n_eval, data.eval_batch_size))
            self.best[distance.name] = min(value, self.best.get(distance.name, math.inf))
            self.log(f"test/{distance.name}", value)
            self.log(f"test/{distance.name}_best", self.best[distance.name])
            self.log(f"test/{distance.name}_floor", distance.floor)

    def artifacts(self, directory: Path) -> dict[str, Path]:
        """Write the pictures of figures 6.12 to 6.15 and the inversions; returns the pictures by title."""
        images = next(iter(self.trainer.datamodule.val_dataloader()))  # type: ignore[attr-defined]
        self.network.eval()
        return write_pictures(self, as_float(images.to(self.device)), directory)

    def _distances(self) -> list[Distance]:
        if self.distances is None:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            others = data.others if data.has_others else None
            self.distances, missing = build(self.distance_names, self.device, data.reference, others)
            for name, reason in missing.items():
                console.warn(f"{name} is left out: {reason}")
        return self.distances

    def _lost(self) -> bool:
        """Whether the step before was not finite (looked at late, so that no step waits for the device).

        Raises:
            FloatingPointError: it was not, and that is no result of this row.
        """
        if self.last is None or bool(torch.isfinite(self.last[1])):
            return False
        step, self.last = self.last[0], None
        if self.tolerate_divergence:
            self.diverged = self.trainer.should_stop = True
            return True
        directory = Path(self.trainer.default_root_dir)
        last = directory / "last.ckpt"
        checkpoint = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written yet"
        fix = "lower the learning rate" + ("" if self.inversion is None else " or the inversion's step_size")
        raise FloatingPointError(
            f"the loss is no longer finite at epoch {self.current_epoch + 1}, step {step + 1}, with the config "
            f"{directory / 'config.yaml'}; {checkpoint}. Fix: {fix}."
        )

    def _add(self, name: str, value: float | Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
