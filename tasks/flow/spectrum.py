"""The flow in coordinates in which the smoothness term is round: its cosine spectrum, weighted."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class Spectral(nn.Module):
    """E as a function of w, where u = Cᵀ (2 s (λ ω² + d))^(−1/2) w and C is the cosine transform.

    C diagonalises the Laplacian with free boundaries (Strang 1999), with eigenvalues ω².  A gradient step on w is a
    step −(2 s (λ ∇ᵀ∇ + d))⁻¹ ∇E on u: gradient descent in another metric, with the same minima and hence the same
    implicit derivatives, but without the thousands of steps in which λ‖∇u‖² lets long waves decay.

    Args:
        energy: a `tasks.flow.energy.HornSchunck`.
        curvature: d, the typical squared slope of its features per pixel, against which λ is weighed.
    """

    def __init__(self, energy: Any, curvature: float) -> None:
        super().__init__()
        if not curvature > 0:
            raise ValueError(f"the metric's curvature must be > 0, got {curvature!r}")
        self.energy, self.curvature = energy, curvature

    def inject(self, frames: tuple[Tensor, Tensor]) -> Any:
        """What the energy computes once per solve."""
        return self.energy.inject(frames)

    def forward(self, w: Tensor, injected: Any) -> Tensor:
        """E, shape (batch,)."""
        value: Tensor = self.energy(self.flow(w), injected)
        return value

    def gradient(self, w: Tensor, injected: Any) -> Tensor:
        """∂E/∂w."""
        return self._pull(self.energy.gradient(self.flow(w), injected))

    def value_and_gradient(self, w: Tensor, injected: Any) -> tuple[Tensor, Tensor]:
        """Both."""
        value, gradient = self.energy.value_and_gradient(self.flow(w), injected)
        return value, self._pull(gradient)

    def flow(self, w: Tensor) -> Tensor:
        """u of w, (batch, 2, height, width)."""
        down, across, weight = self._basis(w)
        return down.mT @ (weight * w) @ across

    def coordinates(self, flow: Tensor) -> Tensor:
        """w of u."""
        down, across, weight = self._basis(flow)
        return down @ flow @ across.mT / weight

    def _pull(self, gradient: Tensor) -> Tensor:
        down, across, weight = self._basis(gradient)
        return weight * (down @ gradient @ across.mT)

    def _basis(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        down, across = (cosines(n, like) for n in like.shape[-2:])
        squares = [2 - 2 * torch.cos(torch.arange(n).to(like) * (math.pi / n)) for n in like.shape[-2:]]
        # detached: any metric has the same minima
        smoothness = self.energy.log_smoothness.detach().exp()
        stiffness = smoothness * (squares[0][:, None] + squares[1]) + self.curvature
        return down, across, (2 * self.energy.scale * stiffness).rsqrt()


def cosines(n: int, like: Tensor) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of n numbers as a matrix, in the dtype and on the device of `like`."""
    k = torch.arange(n, device=like.device, dtype=torch.float64)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi / n * k[:, None] * (k + 0.5))
    matrix[0] /= math.sqrt(2)
    return matrix.to(like.dtype)
