"""What LightningModules that score images share: means over an epoch, and training that stops where it diverges."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasks.engine import ranks
from tasks.engine.lean import Module


class ScoredModule(Module):
    """Sums of a training epoch, scores of every image, and the guard against a gradient that is not finite.

    A subclass logs `ranks.mean(sums)` over `batches` and `diverged` at the end of its training epoch.

    Attributes:
        network: what is trained.
        sums, batches: totals since the epoch began, and the batches they are of.
        diverged: a loss or gradient was not finite: training stops, and the epochs before it stand.
    """

    distributes = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.scores: dict[str, list[Tensor]] = {}
        self.sums: dict[str, float | Tensor] = {}
        self.batches = 0
        self.diverged = False

    def finite(self, loss: Tensor) -> Tensor | None:
        """The loss, counted as train/loss; None, and the end of training, where it is not finite."""
        if ranks.any_rank(not torch.isfinite(loss)):
            self.stop()
            return None  # no optimiser step
        self.add("train/loss", loss.detach())
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).detach()
        if torch.isfinite(norm):
            self.add("grad/norm", norm)
        else:
            self.stop()
            self.network.zero_grad()  # without gradients, the optimiser leaves the weights

    def on_validation_epoch_end(self) -> None:
        self._log_scores()

    def on_test_epoch_end(self) -> None:
        self._log_scores()

    def stop(self) -> None:
        """Training diverged."""
        self.diverged = True
        self.trainer.should_stop = True

    def add(self, name: str, value: float | Tensor) -> None:
        """Add a mean over the batch to a sum of the epoch."""
        self.sums[name] = self.sums.get(name, 0.0) + value * ranks.share()

    def score(self, name: str, values: Tensor) -> None:
        """Scores of a batch of images, (batch,); their mean over all images is logged when the set ends."""
        self.scores.setdefault(name, []).append(values.cpu())

    def _log_scores(self) -> None:
        for name, parts in ranks.merged(self.scores).items():
            self.log(name, torch.cat(parts).mean().float())
        self.scores = {}
