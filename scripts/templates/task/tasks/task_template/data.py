"""Generated samples (z, x): x solves x = tanh(A x + B z) for matrices A and B that the networks do not see."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tasks.engine.batches import EpochBatches

PROBLEM_SEED = 1  # of A, B and the test set, whatever the seed of the run


class EquationData(pl.LightningDataModule):
    """Inputs z ~ N(0, 1) of shape (n, inputs) and solutions x of shape (n, state).

    Args:
        state: entries of x.
        inputs: entries of z.
        train_samples, test_samples: sizes of the two sets.
        batch_size: training samples a batch; the test set is one batch.
        seed: seed of the training samples and of their order.

    Raises:
        ValueError: a size below 1.
    """

    label = "generated"  # stands on every table and figure
    stand_in = False  # True: the data replace the paper's, and rows are compared by claim only

    def __init__(
        self, state: int, inputs: int, train_samples: int, test_samples: int, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        sizes = {"state": state, "inputs": inputs, "train_samples": train_samples, "test_samples": test_samples}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"data.{name} must be at least 1, got {size}")
        generator = torch.Generator().manual_seed(PROBLEM_SEED)
        orthogonal, _ = torch.linalg.qr(torch.randn(state, state, generator=generator))
        self.a, self.b = 0.9 * orthogonal, torch.randn(state, inputs, generator=generator)
        self.test_set = self.solve(torch.randn(test_samples, inputs, generator=generator))
        generator = torch.Generator().manual_seed(seed)
        self.train_set = self.solve(torch.randn(train_samples, inputs, generator=generator))
        self.order = EpochBatches(train_samples, batch_size, seed)  # the same order after a resume

    def solve(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(z, x) for inputs of shape (n, inputs)."""
        x = z.new_zeros(len(z), len(self.a))
        for _ in range(200):  # ‖A‖ = 0.9: the error falls below float32's resolution
            x = torch.tanh(x @ self.a.T + z @ self.b.T)
        return z, x

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.train_set), sampler=self.order, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.test_set), batch_size=len(self.test_set[0]))
