"""Samples (a, t) of a toy problem: fresh training samples every epoch, one fixed test set (thesis 5.1)."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tasks.engine.batches import EpochAndBatch, mix_seed
from tasks.toy.curves import DATA
from tasks.toy.problems import make_problem

TEST_SEED = 5102  # of the fixed test set, whatever the seed of the run


class ToyData(pl.LightningDataModule):
    """a ~ N(0, σ²) in ``dim`` dimensions and the problem's solution t(a).

    The thesis' data are generated, too: these *are* the paper's data, not a stand-in.  The validation loader is the
    test set, for figure 5.2 shows the test loss after every epoch; nothing is selected by it.

    Args:
        problem: translation | linear | box | simplex.
        seed: seed of the training samples; batch i of epoch e is a function of (seed, e, i) alone, so that a resumed
            run sees the samples an uninterrupted one would have seen.
        dim: dimension of x, a and t.
        train_samples, test_samples: samples in an epoch and in the test set.
        batch_size: training samples a batch (the last batch holds the rest); the test set is one batch.
        train_std, test_std: σ of the inputs.
    """

    label = DATA
    stand_in = False

    def __init__(
        self,
        problem: str,
        seed: int,
        dim: int = 10,
        train_samples: int = 10_000,
        test_samples: int = 1_000,
        batch_size: int = 100,
        train_std: float = 2.0,
        test_std: float = 1.0,
    ) -> None:
        super().__init__()
        sizes = {"train_samples": train_samples, "test_samples": test_samples, "batch_size": batch_size}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"data.{name} must be at least 1, got {size}")
        if seed < 0:
            raise ValueError(f"data.seed must not be negative, got {seed}")
        self.problem = make_problem(problem, dim)
        self.dim, self.batch_size = dim, batch_size
        self.fresh = FreshBatches(self, seed, train_samples, train_std)
        generator = torch.Generator().manual_seed(TEST_SEED)
        self.test_set = self.sample(test_samples, test_std, generator)

    def sample(self, n: int, std: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n inputs a and their targets t, each of shape (n, dim)."""
        a = std * torch.randn(n, self.dim, generator=generator)
        return a, self.problem(a)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.fresh, sampler=EpochAndBatch(len(self.fresh)), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.test_set), batch_size=len(self.test_set[0]))


class FreshBatches(Dataset[tuple[Tensor, Tensor]]):
    """Training batches indexed by (epoch, batch)."""

    def __init__(self, data: ToyData, seed: int, samples: int, std: float) -> None:
        self.data, self.seed, self.samples, self.std = data, seed, samples, std

    def __len__(self) -> int:
        return -(-self.samples // self.data.batch_size)

    def __getitem__(self, index: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, batch = index
        size = min(self.data.batch_size, self.samples - batch * self.data.batch_size)
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, batch))
        return self.data.sample(size, self.std, generator)
