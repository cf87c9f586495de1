"""Rows MLP and feedforward of table 5.1, and the feedforward control matched to FPI_NN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Module):
    """Independent label probabilities: sigmoid of a ReLU network, trained with binary cross-entropy.

    Args:
        features, labels: input and output width.
        hidden: widths of the hidden layers; the feature network of SPEN takes the output of the last one.
        batch_norm: batch normalisation after each ReLU (the "feedforward" row).
        fan_out_init: weights and biases from U(-1/√fan_out, 1/√fan_out) (the "feedforward" row), not PyTorch's default.
        reduction: "mean" over samples and labels, or "sum" over both.
    """

    def __init__(
        self,
        features: int,
        labels: int,
        hidden: Sequence[int],
        batch_norm: bool = False,
        fan_out_init: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = features
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()] + ([nn.BatchNorm1d(units)] if batch_norm else [])
            width = units
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, labels)
        self.reduction, self.distributes = reduction, reduction == "mean"
        if fan_out_init:
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    bound = 1 / math.sqrt(layer.out_features)
                    nn.init.uniform_(layer.weight, -bound, bound)
                    nn.init.uniform_(layer.bias, -bound, bound)

    def logits(self, z: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(z))
        return out

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy of probabilities for z, reduced as asked."""
        return F.binary_cross_entropy_with_logits(self.logits(z), y, reduction=self.reduction)

    @torch.no_grad()
    def predict(self, z: Tensor) -> Tensor:
        """Label probabilities, shape (batch, labels)."""
        return torch.sigmoid(self.logits(z))
