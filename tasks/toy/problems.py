"""The optimisation problems of thesis 5.1 and their solutions t(a), known in closed form.

Every problem is a callable that maps inputs a, shape (batch, dim), to targets t of the same shape.  What a problem
draws at random (d of the translation, W of the linear equation) is drawn once, from a seed of its own: it is the same
in every run and for every seed of the training.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Problem = Callable[[Tensor], Tensor]

PROBLEM_SEED = 5101


class Translation:
    """t = a + d, d ~ N(0, 1) (thesis 5.1.1.1)."""

    def __init__(self, dim: int) -> None:
        self.d = torch.randn(dim, generator=_generator())

    def __call__(self, a: Tensor) -> Tensor:
        return a + self.d.to(a)


class LinearEquation:
    """The solution of W x = a, t = W⁻¹ a (thesis eq. 5.1).

    The thesis asks for full rank only.  Here W = U diag(s) Vᵀ with random orthogonal U, V and singular values s evenly
    spaced from 0.5 to 2: condition number 4, so that the targets stay at the scale of the inputs.
    """

    def __init__(self, dim: int) -> None:
        generator = _generator()
        u, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        v, _ = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        self.w = u @ torch.linspace(0.5, 2, dim, dtype=torch.float64).diag() @ v.t()
        self.inverse = torch.linalg.inv(self.w)

    def __call__(self, a: Tensor) -> Tensor:
        return a @ self.inverse.t().to(a)


class Box:
    """The nearest point of the box −1 ≤ x ≤ 1 (thesis eq. 5.2): elementwise clipping."""

    def __init__(self, dim: int) -> None:
        pass

    def __call__(self, a: Tensor) -> Tensor:
        return a.clamp(-1, 1)


class Simplex:
    """The nearest point of the standard simplex, 1ᵀx = 1, x ≥ 0 (thesis eq. 5.3), by sorting.

    Algorithm of Wang & Carreira-Perpiñán, "Projection onto the probability simplex" (arXiv:1309.1541), the thesis'
    [64]: with u the sorted a and λ_j = (1 − Σ_{i≤j} u_i)/j, ρ is the largest j with u_j + λ_j > 0; t = max(a + λ_ρ, 0).
    """

    def __init__(self, dim: int) -> None:
        self.count = torch.arange(1, dim + 1)

    def __call__(self, a: Tensor) -> Tensor:
        u = a.sort(dim=1, descending=True).values
        shift = (1 - u.cumsum(dim=1)) / self.count.to(a)
        rho = (u + shift > 0).sum(dim=1, keepdim=True)
        return (a + shift.gather(1, rho - 1)).clamp_min(0)


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "translation": Translation,
    "linear": LinearEquation,
    "box": Box,
    "simplex": Simplex,
}


def make_problem(name: str, dim: int) -> Problem:
    """The problem called ``name`` in ``dim`` dimensions.

    Raises:
        ValueError: an unknown name, or a dimension below 1.
    """
    if name not in PROBLEMS:
        raise ValueError(f"data.problem={name!r} is unknown; choose one of {', '.join(PROBLEMS)}")
    if dim < 1:
        raise ValueError(f"data.dim must be at least 1, got {dim}")
    return PROBLEMS[name](dim)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(PROBLEM_SEED)
