"""Rows DVN(GT) and DVN(Adversarial): deep value networks (Gygli, Norouzi and Angelova 2017).

v(x, y) = sigmoid(Σᵢ yᵢ aᵢ(x) + c₂ᵀ softplus(C₁ᵀ y)) predicts the F1 score of y as labels of x. Prediction ascends v.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.bibtex.models.potential import LabelPotential

SAMPLES = ("ground_truth", "adversarial")


class DVN(nn.Module):
    """Trained by binary cross-entropy of v(x, y) against the F1 score of y, on sampled y.

    With probability `extra` a batch's y are extra samples, else they are found by inference from y = 0. Extra samples
    are the true labels ("ground_truth"), or one inference step from the true labels or from 0, chosen evenly for each
    row ("adversarial", deviation D6 of the README).

    Args:
        features, labels: input and output width.
        hidden: widths of the softplus layers below the last, linear one that gives a(x).
        units: global units (columns of C₁).
        sampling: "ground_truth" | "adversarial".
        extra: probability of extra samples for a batch.
        steps, step_size: inference, gradient ascent projected to [0, 1].
    """

    def __init__(
        self,
        features: int,
        labels: int,
        hidden: Sequence[int] = (150,),
        units: int = 16,
        sampling: str = "ground_truth",
        extra: float = 0.5,
        steps: int = 20,
        step_size: float = 0.5,
    ) -> None:
        super().__init__()
        if sampling not in SAMPLES:
            raise ValueError(f"DVN: sampling must be one of {', '.join(SAMPLES)}, got {sampling!r}")
        layers: list[nn.Module] = []
        width = features
        for size in hidden:
            layers += [nn.Linear(width, size), nn.Softplus()]
            width = size
        self.local = nn.Sequential(*layers, nn.Linear(width, labels))
        for layer in self.local:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
                nn.init.zeros_(layer.bias)
        self.potential = LabelPotential(labels, units)
        self.sampling, self.extra, self.steps, self.step_size = sampling, extra, steps, step_size

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean binary cross-entropy of v(z, ŷ) against F1(ŷ, y) on this batch's sampled ŷ."""
        a = self.local(z)
        sampled = self.sample(a.detach(), y)
        return F.binary_cross_entropy_with_logits(self.potential(sampled, a), soft_f1(sampled, y))

    @torch.no_grad()
    def predict(self, z: Tensor) -> Tensor:
        """Relaxed labels in [0, 1] of the greatest value."""
        return self.infer(self.local(z))

    @torch.no_grad()
    def infer(self, a: Tensor) -> Tensor:
        """Gradient ascent on v from y = 0."""
        y = torch.zeros_like(a)
        for _ in range(self.steps):
            y = self.ascend(y, a)
        return y

    def ascend(self, y: Tensor, a: Tensor) -> Tensor:
        """One projected step of gradient ascent on v."""
        return (y + self.step_size * self.value_gradient(y, a)).clamp(0, 1)

    @torch.no_grad()
    def sample(self, a: Tensor, y: Tensor) -> Tensor:
        """The ŷ to train on, shape of y."""
        if torch.rand(()) >= self.extra:
            return self.infer(a)
        if self.sampling == "ground_truth":
            return y
        start = torch.where(torch.rand(len(y), 1, device=y.device) > 0.5, y, torch.zeros_like(y))
        return self.ascend(start, a)

    def value_gradient(self, y: Tensor, a: Tensor) -> Tensor:
        """∂v/∂y = v (1 - v) ∂s/∂y."""
        value, gradient = self.potential.value_and_gradient(y, a)
        v = torch.sigmoid(value)
        return (v * (1 - v))[:, None] * gradient


def soft_f1(y: Tensor, target: Tensor) -> Tensor:
    """F1 of relaxed labels, 2 Σ min / (Σ min + Σ max), shape (batch,); equals F1 on binary labels."""
    low, high = torch.minimum(y, target).sum(1), torch.maximum(y, target).sum(1)
    return 2 * low / (low + high).clamp(min=1e-8)
