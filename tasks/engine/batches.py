"""Index batches for in-memory data sets, shuffled by (seed, epoch) alone so that a resumed run sees the same order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler


def mix_seed(*parts: int) -> int:
    """One 63-bit seed from several non-negative integers; neighbouring inputs give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class EpochBatches(Sampler[torch.Tensor]):
    """Sampler of whole index batches: LongTensors of shape (batch_size,).

    Use it with automatic batching off, so that the data set is indexed once a batch and not once a sample::

        DataLoader(TensorDataset(z, y), sampler=EpochBatches(len(z), 32, seed), batch_size=None)

    The order of an epoch depends on `seed` and the epoch only (never on the global random state). Lightning calls
    `set_epoch` before each training epoch.

    Args:
        n: samples in the data set.
        batch_size: samples a batch; the last batch holds the rest unless `drop_last`.
        seed: non-negative seed of the order.
        shuffle: False gives 0..n-1 in every epoch.
        drop_last: leave out the last, smaller batch.

    Raises:
        ValueError: n or batch_size below 1, a negative seed, or no batch left by `drop_last`.
    """

    def __init__(self, n: int, batch_size: int, seed: int, shuffle: bool = True, drop_last: bool = False) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"EpochBatches: n and batch_size must be at least 1, got n={n}, batch_size={batch_size}")
        if seed < 0:
            raise ValueError(f"EpochBatches: seed must not be negative, got {seed}")
        if drop_last and n < batch_size:
            raise ValueError(f"EpochBatches: drop_last leaves no batch of {batch_size} from {n} samples")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[torch.Tensor]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
            order = torch.randperm(self.n, generator=generator)
        else:
            order = torch.arange(self.n)
        for i in range(len(self)):
            yield order[i * self.batch_size : (i + 1) * self.batch_size]


class NumberedBatches(Sampler[tuple[int, int, torch.Tensor]]):
    """The batches of an `EpochBatches` with the epoch and their number."""

    def __init__(self, batches: EpochBatches) -> None:
        self.batches = batches

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each training epoch."""
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        return ((self.batches.epoch, i, chosen) for i, chosen in enumerate(self.batches))


class EpochAndBatch(Sampler[tuple[int, int]]):
    """The indices (epoch, 0), (epoch, 1), ... for so many batches an epoch."""

    def __init__(self, batches: int) -> None:
        self.batches, self.epoch = batches, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each training epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, i) for i in range(self.batches))


def fixed_noise(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal noise of a test image: a function of the image's name alone, on every machine."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
