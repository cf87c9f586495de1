"""The Fréchet distance of two sets of features, each taken as a normal distribution (Heusel et al. 2017).

    d² = ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½

It is called FID only where the features are those of the Inception network its authors used (`tasks.vae.features`).
"""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Mean and covariance of features that come in batches; memory is that of one covariance, however many come.

    Batches are merged by Chan, Golub & LeVeque's update in float64, so that a large common mean costs no digits.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None  # Σ (x − μ)(x − μ)ᵀ
        self._root: Tensor | None = None

    def update(self, features: Tensor) -> None:
        """Add a batch of shape (n, dimensions). Raises ValueError for features that are not finite."""
        if not bool(torch.isfinite(features).all()):
            raise ValueError(
                "features of the Fréchet distance are not finite: the images they come from are not, either"
            )
        self._root = None
        features = features.double()
        n = len(features)
        if n == 0:
            return
        mean = features.mean(0)
        centred = features - mean
        scatter = centred.T @ centred
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter, self.count = mean, scatter, n
            return
        apart, total = mean - self._mean, self.count + n
        self._scatter += scatter + torch.outer(apart, apart) * (self.count * n / total)
        self._mean = self._mean + apart * (n / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """(dimensions,), float64. Raises ValueError without samples."""
        if self._mean is None:
            raise ValueError("no samples: a Fréchet distance needs at least 2 on either side")
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """(dimensions, dimensions), float64, with n − 1. Raises ValueError for fewer than 2 samples."""
        if self._scatter is None or self.count < 2:
            raise ValueError(f"{self.count} samples: a Fréchet distance needs at least 2 on either side")
        return self._scatter / (self.count - 1)

    @property
    def root(self) -> Tensor:
        """The covariance's symmetric root, kept until the next update."""
        if self._root is None:
            values, vectors = torch.linalg.eigh(self.covariance)
            self._root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        return self._root


def frechet_distance(a: Moments, b: Moments) -> float:
    """d² of two sets; real and at least 0 for any number of samples from 2 on. `b` keeps its part of the work.

    tr (Σ₁ Σ₂)^½ is the sum of the roots of the eigenvalues of the symmetric Σ₂^½ Σ₁ Σ₂^½, so that no root of a
    negative number (an imaginary part) appears where the covariances are singular.

    Raises:
        ValueError: fewer than 2 samples, or features of different dimensions.
    """
    first, second = a.covariance, b.covariance
    if first.shape != second.shape:
        raise ValueError(f"features of {len(first)} and {len(second)} dimensions cannot be compared")
    product = b.root @ first @ b.root
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    apart = (a.mean - b.mean).square().sum()
    return max(0.0, float(apart + first.trace() + second.trace() - 2 * cross))
