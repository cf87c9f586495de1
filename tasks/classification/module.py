"""The LightningModule of every row: loss, Adam, a schedule; accuracy after every epoch, in eval mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.classification.network import Classifier
from tasks.classification.probe import cosines
from tasks.engine import ranks
from tasks.engine.lean import Module

Batch = tuple[Tensor, Tensor]


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean squared error to one-hot labels."""
    return F.mse_loss(outputs, F.one_hot(labels, outputs.shape[1]).to(outputs.dtype))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": squared_error, "cross_entropy": F.cross_entropy}


class Classification(Module):
    """Learns images ↦ labels.

    Logged per epoch: train/loss, val/loss, val/accuracy (%), solver/{forward,backward}_{iterations,converged},
    cost/g_evaluations (of the epoch, on a batch), and of all epochs so far cost/train_seconds (validation not counted),
    cost/seconds_per_epoch (their median) and cost/jacobian_products (one a sample). On a CPU the seconds are those of
    the training thread: other work on its core does not count. For rows with a probe,
    jfb/{cosine,cosine_min,norm} (`tasks.classification.probe`). Tested: test/accuracy (%), test/loss.

    Args:
        network: see `tasks.classification.network.Classifier`.
        optimizer: called with the parameters.
        scheduler: called with the optimiser, stepped every epoch.
        loss: "mse" (to one-hot labels) or "cross_entropy".
        probe: training images at which the Jacobian-free direction is compared with the gradient after every epoch.

    Raises:
        ValueError: an unknown loss.
    """

    distributes = True

    def __init__(
        self,
        network: Classifier,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], Any],
        loss: Literal["mse", "cross_entropy"],
        probe: int = 0,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"method.loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        self.network, self.optimizer, self.scheduler = network, optimizer, scheduler
        self.loss, self.probe = LOSSES[loss], probe
        self.seconds: list[float] = []  # of the training in each epoch
        self.products = 0.0  # with Jacobians, in all epochs
        self.sums: dict[str, float | Tensor] = {}  # of an epoch
        self.batches = 0
        self.started: float | None = None
        self.scores: list[Tensor] = []

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.network.parameters())
        return [optimizer], [self.scheduler(optimizer)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cost"] = {"seconds": self.seconds, "products": self.products}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seconds, self.products = list(checkpoint["cost"]["seconds"]), checkpoint["cost"]["products"]

    def on_train_epoch_start(self) -> None:
        self.sums, self.batches = {}, 0
        self.network.g_evaluations = self.network.jacobian_products = 0.0
        self.started = self._clock()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        images, labels = batch
        loss = self.loss(self.network(images), labels)
        self._add("train/loss", loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        self.network.count_products()
        for name, value in self.network.solver_metrics().items():
            self._add(f"solver/{name}", value)
        self.batches += 1

    def on_validation_start(self) -> None:
        self._stop_clock()

    def on_train_epoch_end(self) -> None:
        self._stop_clock()
        for name, total in ranks.mean(self.sums).items():
            self.log(name, total / self.batches)
        self.log_dict(ranks.mean({"cost/g_evaluations": self.network.g_evaluations}))
        self.log("cost/jacobian_products", self.products)
        self.log("cost/train_seconds", sum(self.seconds))
        self.log("cost/seconds_per_epoch", float(torch.tensor(self.seconds).median()))
        if self.probe:
            images, labels = self.trainer.datamodule.first_training_images(self.probe)  # type: ignore[attr-defined]
            measured = cosines(self.network, images.to(self.device), labels.to(self.device), self.loss)
            for name, value in measured.items():
                self.log(f"jfb/{name}", value)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._score(batch)

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val")

    def test_step(self, batch: Batch, index: int) -> None:
        self._score(batch)

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def _clock(self) -> float:
        if self.device.type == "cpu":
            return time.thread_time()  # the jobs of a sweep share a machine; PyTorch trains in this thread
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _stop_clock(self) -> None:
        """Training of the epoch ends here; what the validation costs does not belong to it."""
        if self.started is None:
            return
        self.seconds.append(self._clock() - self.started)
        self.products += ranks.total(self.network.jacobian_products)
        self.started = None

    def _score(self, batch: Batch) -> None:
        images, labels = batch
        with torch.no_grad():
            outputs = self.network(images)
            sums = [(outputs.argmax(1) == labels).sum().double(), self.loss(outputs, labels).double() * len(labels)]
        self.scores.append(torch.stack([*sums, torch.tensor(float(len(labels))).to(sums[0])]))

    def _log_scores(self, which: str) -> None:
        right, loss, count = torch.stack(ranks.gathered(self.scores)).sum(0).tolist()
        self.scores = []
        self.log(f"{which}/accuracy", 100 * right / count)
        self.log(f"{which}/loss", loss / count)

    def _add(self, name: str, value: float | Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value * ranks.share()
