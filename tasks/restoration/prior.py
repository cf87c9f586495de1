"""The designed prior of PODM: g(x) = λ ‖Wx‖_p^p with W an orthonormal discrete cosine transform, 0 < p ≤ 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=32)
def dct_matrix(n: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """The orthonormal DCT-II of length n as a matrix: coefficients = matrix @ signal."""
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi / n * torch.outer(k, k + 0.5)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.to(dtype=dtype, device=device)


@dataclass(frozen=True)
class LpDct:
    """g and its proximal map.

    Args:
        weight: λ ≥ 0.
        p: the power, in (0, 1]; 1 is convex, 0.8 is that of the authors' program.
        axes: 1: transformed along the rows only, as in the authors' program; 2: along both axes.

    Raises:
        ValueError: a value out of its range.
    """

    weight: float
    p: float = 0.8
    axes: int = 1

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"the prior's weight (λ) must be at least 0, got {self.weight!r}")
        if not 0 < self.p <= 1:
            raise ValueError(f"the prior's power p must lie in (0, 1], got {self.p!r}")
        if self.axes not in (1, 2):
            raise ValueError(f"the prior's axes must be 1 (rows) or 2 (both), got {self.axes!r}")

    @property
    def convex(self) -> bool:
        return self.p == 1

    def transform(self, x: Tensor) -> Tensor:
        """W x."""
        coefficients = x @ dct_matrix(x.shape[-1], x.dtype, x.device).T
        return coefficients if self.axes == 1 else dct_matrix(x.shape[-2], x.dtype, x.device) @ coefficients

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Wᵀ of coefficients."""
        x = coefficients @ dct_matrix(coefficients.shape[-1], coefficients.dtype, coefficients.device)
        return x if self.axes == 1 else dct_matrix(x.shape[-2], x.dtype, x.device).T @ x

    def value(self, x: Tensor) -> Tensor:
        """g(x) per image, shape (batch,)."""
        c = self.transform(x)
        return self.weight * torch.where(_is_zero(c), torch.zeros_like(c), c).abs().pow(self.p).flatten(1).sum(1)

    def prox(self, v: Tensor, step: float | Tensor) -> Tensor:
        """argmin_x g(x) + ‖x − v‖² / (2 step), a global minimiser for every p."""
        return self.inverse(shrink(self.transform(v), self.weight * step, self.p))


def shrink(c: Tensor, t: float | Tensor, p: float) -> Tensor:
    """argmin_s t |s|^p + (s − c)² / 2, elementwise: soft thresholding for p = 1, else generalised (Zuo et al. 2013).

    Where both 0 and a positive s are minimisers, s is returned.
    """
    if p == 1:
        return c.sign() * (c.abs() - t).clamp_min(0)
    t = torch.as_tensor(t, dtype=c.dtype, device=c.device)
    jump = (2 * t * (1 - p)) ** (1 / (2 - p))  # the least non-zero minimiser
    threshold = jump + t * p * jump ** (p - 1)
    size = c.abs()
    keep = (size >= threshold) & (size > 0)
    s = size.clamp_min(threshold)
    root = s
    for _ in range(6):  # Newton on s + t p s^(p−1) = |c|: convex and increasing right of the jump
        slope = 1 - t * p * (1 - p) * root.pow(p - 2)
        root = (root - (root + t * p * root.pow(p - 1) - s) / slope).clamp_min(jump)
    return torch.where(keep & (t > 0), c.sign() * root, torch.where(t > 0, torch.zeros_like(c), c))


def stationarity(gradient: Tensor, x: Tensor, prior: LpDct) -> Tensor:
    """dist(0, ∇f(x) + ∂g(x)) per image, shape (batch,): 0 exactly at the critical points of Φ = f + g.

    For p < 1 the limiting subdifferential at a coefficient of 0 is the whole line; for p = 1 it is [−λ, λ].

    Args:
        gradient: ∇f(x).
    """
    c, slope = prior.transform(x), prior.transform(gradient)
    zero = _is_zero(c)
    size = torch.where(zero, torch.ones_like(c), c.abs())
    away = slope + prior.weight * prior.p * c.sign() * size.pow(prior.p - 1)
    at_zero = (slope.abs() - prior.weight).clamp_min(0) if prior.convex else torch.zeros_like(c)
    return torch.linalg.vector_norm(torch.where(zero, at_zero, away).flatten(1), dim=1)


def _is_zero(c: Tensor) -> Tensor:
    """Which coefficients are 0 but for rounding: W Wᵀ 0 is not exactly 0, and |·|^p magnifies it."""
    return c.abs() <= 100 * torch.finfo(c.dtype).eps * c.abs().flatten(1).amax(1)[:, None, None, None]
