"""Training batches that are functions of (seed, epoch, batch number), and the noise of test images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tasks.engine.batches import mix_seed
from tasks.restoration.operators import Problem, degrade


class FreshProblems(Dataset[tuple[Problem, Tensor]]):
    """Training batches, indexed by (epoch, batch number), on which images, kernels, flips and noise depend."""

    def __init__(
        self, images: Tensor, kernels: list[Tensor], sigma: float, factor: int, batch_size: int, seed: int
    ) -> None:
        self.images, self.kernels, self.sigma, self.factor = images, kernels, sigma, factor
        self.batch_size, self.seed = batch_size, seed

    def __getitem__(self, index: tuple[int, int]) -> tuple[Problem, Tensor]:
        generator = torch.Generator().manual_seed(mix_seed(self.seed, *index))

        def draw(below: int) -> list[int]:
            return torch.randint(below, (self.batch_size,), generator=generator).tolist()

        turned = [_turned(self.images[i], turn) for i, turn in zip(draw(len(self.images)), draw(8), strict=True)]
        truth = torch.stack(turned)
        kernels = [self.kernels[i] for i in draw(len(self.kernels))]
        small = truth[..., :: self.factor, :: self.factor].shape
        noise = self.sigma * torch.randn(small, generator=generator)
        return degrade(truth, kernels, noise, self.factor), truth


def _turned(image: Tensor, turn: int) -> Tensor:
    """One of the eight flips and quarter turns."""
    turned = torch.rot90(image, turn % 4, (-2, -1))
    return turned.flip(-1) if turn >= 4 else turned
