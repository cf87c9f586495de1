"""Row SPEN: a structured prediction energy network (Belanger and McCallum 2016), trained with a structured hinge.

E(x, y) = Σᵢ yᵢ (B F(x))ᵢ + c₂ᵀ softplus(C₁ᵀ y). F is the body of an MLP, trained first as a classifier and then frozen;
B starts as minus the MLP's last layer, so that the local energy alone reproduces its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tasks.bibtex.models.feedforward import FeedForward
from tasks.bibtex.models.potential import LabelPotential


class SPEN(nn.Module):
    """Two phases: epochs below `pretrain_epochs` train the MLP, later ones the energy.

    Args:
        features, labels: input and output width.
        hidden: hidden widths of F.
        units: global units (columns of C₁).
        pretrain_epochs: epochs of the first phase; its predictions are the MLP's.
        pretrain_lr: learning rate of the first phase (no weight decay); the optimiser's own settings are the second's.
        steps, step_size, momentum: inference, descent from y = 0 projected to [0, 1] after each step.
        augment: training inference descends E - augment · ‖y - y*‖² (loss-augmented, 1) or E alone (0).
    """

    phase: Tensor

    def __init__(
        self,
        features: int,
        labels: int,
        hidden: Sequence[int] = (150, 150),
        units: int = 16,
        pretrain_epochs: int = 10,
        pretrain_lr: float = 1e-3,
        steps: int = 30,
        step_size: float = 0.1,
        momentum: float = 0.95,
        augment: float = 0.0,
    ) -> None:
        super().__init__()
        self.mlp = FeedForward(features, labels, hidden, reduction="sum")
        self.local = nn.Linear(self.mlp.head.in_features, labels, bias=False)  # B
        self.potential = LabelPotential(labels, units)
        self.pretrain_epochs, self.pretrain_lr = pretrain_epochs, pretrain_lr
        self.steps, self.step_size, self.momentum, self.augment = steps, step_size, momentum, augment
        self.register_buffer("phase", torch.tensor(0))  # in the checkpoint: a test must know how to predict

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The MLP with its own learning rate, and the energy with the optimiser's."""
        energy = [*self.local.parameters(), *self.potential.parameters()]
        return [
            {"params": list(self.mlp.parameters()), "lr": self.pretrain_lr, "weight_decay": 0.0},
            {"params": energy},
        ]

    def begin_epoch(self, epoch: int) -> None:
        """Choose the phase; at the first epoch of the second, take B over from the MLP."""
        second = epoch >= self.pretrain_epochs
        if epoch == self.pretrain_epochs:
            with torch.no_grad():
                self.local.weight.copy_(-self.mlp.head.weight)
        self.mlp.requires_grad_(not second)
        self.local.requires_grad_(second)
        self.potential.requires_grad_(second)
        self.phase.fill_(int(second))

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        """First phase: summed cross-entropy. Second: mean over samples of max(0, ‖ŷ - y‖² - E(ŷ) + E(y)), where the
        squared distance is summed over the batch (deviation D3 of the README)."""
        if not self.phase:
            return self.mlp.loss(z, y)
        weights = self.local(self.mlp.body(z))
        found = self.infer(weights.detach(), y if self.augment else None)
        margin = (found - y).square().sum()
        return torch.relu(margin - self.potential(found, weights) + self.potential(y, weights)).mean()

    @torch.no_grad()
    def predict(self, z: Tensor) -> Tensor:
        """Probabilities of the MLP (first phase), or the relaxed labels in [0, 1] of least energy (second)."""
        return self.infer(self.local(self.mlp.body(z))) if self.phase else self.mlp.predict(z)

    @torch.no_grad()
    def infer(self, weights: Tensor, target: Tensor | None = None) -> Tensor:
        """Descend E(y), or E(y) - augment · ‖y - target‖², with heavy-ball steps from y = 0."""
        y, velocity = torch.zeros_like(weights), torch.zeros_like(weights)
        for _ in range(self.steps):
            gradient = self.potential.gradient(y, weights)
            if target is not None:
                gradient = gradient - 2 * self.augment * (y - target)
            velocity = self.momentum * velocity + self.step_size * gradient
            y = (y - velocity).clamp(0, 1)
        return y
