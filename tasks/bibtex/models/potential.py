"""The potential over labels that SPEN (as energy) and the deep value networks (as value) share.

s(y; a) = Σᵢ yᵢ aᵢ + c₂ᵀ softplus(C₁ᵀ y): a local term whose weights a come from the input (Belanger and McCallum 2016,
eq. 4), and a global term over the labels alone (eq. 5).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LabelPotential(nn.Module):
    """s(y; a) and its closed-form gradient in y.

    C₁ (labels, units) and c₂ (units,) start from N(0, 2 / labels) and N(0, 2 / units) (variances).
    """

    def __init__(self, labels: int, units: int) -> None:
        super().__init__()
        self.c1 = nn.Parameter(torch.randn(labels, units) * math.sqrt(2 / labels))
        self.c2 = nn.Parameter(torch.randn(units) * math.sqrt(2 / units))

    def forward(self, y: Tensor, a: Tensor) -> Tensor:
        """s, shape (batch,), of labels y and local weights a, both (batch, labels)."""
        return (y * a).sum(1) + F.softplus(y @ self.c1) @ self.c2

    def gradient(self, y: Tensor, a: Tensor) -> Tensor:
        """∂s/∂y = a + C₁ (c₂ · sigmoid(C₁ᵀ y)), shape (batch, labels)."""
        return torch.addmm(a, torch.sigmoid(y @ self.c1), (self.c1 * self.c2).t())

    def value_and_gradient(self, y: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Both, with one product C₁ᵀ y."""
        units = y @ self.c1
        value = (y * a).sum(1) + F.softplus(units) @ self.c2
        return value, torch.addmm(a, torch.sigmoid(units), (self.c1 * self.c2).t())
