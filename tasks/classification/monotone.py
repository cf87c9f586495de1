"""The latent maps of monotone operator networks (Winston & Kolter 2020), fully connected and convolutional.

u = relu(W u + v) with I − W ≥ m I, W = (1 − m) I − AᵀA + B − Bᵀ, has one solution for every A and B, though u ↦
relu(W u + v) itself need not contract. It is the fixed point of forward-backward splitting,

    R(u, v) = relu((1 − α) u + α (W u + v)) = relu(u + α (v − (I − W) u)),

which needs products with A and B alone, no resolvent of W. With S = m I + AᵀA, K = B − Bᵀ, a = ‖A‖ and k = ‖K‖,

    ‖I − α (S − K)‖² ≤ ‖I − α S‖² + α² (k² + ‖S K − K S‖) ≤ (1 − α m)² + α² (k² + a² k)   for α ≤ 2 / (2 m + a²),

so that R contracts; that is a tighter bound, and a longer step, than 1 − 2 α m + α² ‖S − K‖² of any monotone operator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi


class MonotoneOperator(nn.Module):
    """R of a fully connected network; u, v and the result are (batch, latent).

    Args:
        latent: size of u.
        monotonicity: m, above 0.

    Raises:
        ValueError: m is not positive.
    """

    def __init__(self, latent: int, monotonicity: float) -> None:
        super().__init__()
        if not monotonicity > 0:
            raise ValueError(f"monotonicity (m) must be above 0, got {monotonicity}: the solution would not be unique")
        self.monotonicity = monotonicity
        self._make(latent)

    def _make(self, latent: int) -> None:
        self.a = nn.Linear(latent, latent, bias=False)
        self.b = nn.Linear(latent, latent, bias=False)

    def product(self, u: Tensor) -> Tensor:
        """(I − W) u."""
        product: Tensor = self.monotonicity * u + self.a(u) @ self.a.weight - self.b(u) + u @ self.b.weight
        return product

    def norms(self) -> tuple[Tensor, Tensor]:
        """Upper bounds of ‖A‖ and ‖B − Bᵀ‖."""
        a, b = self.a.weight, self.b.weight
        return fpi.contraction.gram_norm(a, 1.1), fpi.contraction.gram_norm(b - b.t(), 1.1)

    def inject(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """(v, α): the step of the smallest bound on R's constant; the solution does not depend on it."""
        with torch.no_grad():
            a, k = self.norms()
            m, square = self.monotonicity, a.square()
            return v, torch.minimum(m / (m**2 + k.square() + square * k), 2 / (2 * m + square))

    def forward(self, u: Tensor, injected: tuple[Tensor, Tensor]) -> Tensor:
        v, step = injected
        return F.relu(u + step * (v - self.product(u)))


class ConvMonotoneOperator(MonotoneOperator):
    """R of a convolutional network; u, v and the result are (batch, latent, height, width), `latent` channels.

    A = a · K_A / ‖K_A‖_F and B = b · K_B / ‖K_B‖_F are convolutions with 3 × 3 kernels and learnt scales a and b (that
    paper's, whose initial value is 1). Pixels beyond the border are 0: with the transposed convolution, AᵀA is positive
    and B − Bᵀ skew at the border, too.
    """

    def _make(self, latent: int) -> None:
        self.a_kernel, self.b_kernel = (nn.Conv2d(latent, latent, 3, bias=False).weight for _ in "ab")
        self.a_scale, self.b_scale = (nn.Parameter(torch.ones(())) for _ in "ab")

    def kernels(self) -> tuple[Tensor, Tensor]:
        """Those of A and of B − Bᵀ."""
        a = self.a_scale * self.a_kernel / torch.linalg.vector_norm(self.a_kernel)
        b = self.b_scale * self.b_kernel / torch.linalg.vector_norm(self.b_kernel)
        return a, b - transposed(b)

    def product(self, u: Tensor) -> Tensor:
        a, skew = self.kernels()
        squared = F.conv2d(F.conv2d(u, a, padding=1), transposed(a), padding=1)
        return self.monotonicity * u + squared - F.conv2d(u, skew, padding=1)

    def norms(self) -> tuple[Tensor, Tensor]:
        a, skew = (fpi.contraction.conv_norm(kernel, slack=1.2) for kernel in self.kernels())
        return a, skew


def transposed(kernel: Tensor) -> Tensor:
    """The kernel of the transposed convolution, for an odd size and zeros all around that keep the image's size."""
    return kernel.transpose(0, 1).flip(2, 3)
