"""The latent maps R of the paper's models.

With v = Q(d), T(u; d) = R(u, v) is the network operator whose fixed point in u is wanted (eq. 4 of the paper). Each map
is a contraction in u by construction: the linear maps that u passes have norm at most 1 (`fpi.contraction`), the
activations are 1-Lipschitz, and a factor γ < 1 remains. What depends on v alone is computed once a solve (`inject`).

Shapes: u, v and results are (batch, latent).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi


class OneLayer(nn.Module):
    """R(u, v) = outer · post(W (inner · pre(u) + v)): MNIST and CIFAR-10 without augmentation.

    Args:
        latent: size of u.
        inner, outer: factors; their product is the contraction constant γ.
        pre, post: 1-Lipschitz activations.
        bound: of ‖W‖; None leaves it unconstrained, and R need not contract.
    """

    def __init__(
        self, latent: int, inner: float, outer: float, pre: nn.Module, post: nn.Module, bound: float | None
    ) -> None:
        super().__init__()
        self.path = nn.Linear(latent, latent, bias=False)
        self.inner, self.outer, self.pre, self.post = inner, outer, pre, post
        if bound is not None:
            fpi.contraction.spectral_budget_(self.path, bound)

    def inject(self, v: Tensor) -> Tensor:
        """W v."""
        moved: Tensor = self.path(v)
        return moved

    def forward(self, u: Tensor, injected: Tensor) -> Tensor:
        hidden: Tensor = self.post(torch.addmm(injected, self.pre(u), self.path.weight.t(), alpha=self.inner))
        return hidden if self.outer == 1 else self.outer * hidden


class TwoLayers(nn.Module):
    """R(u, v) = γ W₂ σ(W₁ σ(u) + b) + v with σ a leaky ReLU: SVHN, and CIFAR-10 with augmentation.

    Args:
        latent: size of u.
        gamma: the contraction constant.
        bound: of ‖W₁‖ ‖W₂‖; None leaves it unconstrained.
    """

    def __init__(self, latent: int, gamma: float, bound: float | None) -> None:
        super().__init__()
        self.gamma = gamma
        self.path = nn.Sequential(nn.Linear(latent, latent), nn.LeakyReLU(0.1), nn.Linear(latent, latent, bias=False))
        if bound is not None:
            fpi.contraction.spectral_budget_(self.path, bound)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.add(v, self.path(F.leaky_relu(u, 0.1)), alpha=self.gamma)
