"""Each process its part of every batch: what Lightning's distributed training is told to do.

Every process makes the whole batch, as one process would, and keeps its part of it: the samples and their noise are the
same, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from tasks.engine import ranks

CONTAINERS = Tensor | list | tuple | dict


class Place(ClusterEnvironment):
    """Which of the processes this one is; they were started by `tasks.engine.helpers`, on this machine."""

    creates_processes_externally = True
    main_address = "127.0.0.1"
    main_port = 0  # the processes have found each other before

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.count

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0


class Shards(DDPStrategy):
    """Distributed data-parallel training on parts of the batches, whose gradients are those of the whole ones.

    Buffers are not synchronised: they start equal, and what changes them (budgets, thresholds, phases) is a function of
    the weights, the epoch and what `ranks.gathered` gives to all. Batch normalisation is refused beforehand.
    """

    def __init__(self) -> None:
        super().__init__(broadcast_buffers=False)
        self.parts: TrainingParts | None = None
        self.skipping = False  # the step, in all processes

    def _configure_launcher(self) -> None:
        """None: the processes are there, and their number of threads is the config's."""

    def process_dataloader(self, dataloader: Any) -> Any:
        if not self.lightning_module.trainer.training:  # type: ignore[union-attr]
            return WholeBatches(dataloader, self.global_rank, self.world_size)
        self.parts = TrainingParts(dataloader, self.global_rank, self.world_size)
        return self.parts

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        assert self.parts is not None
        ranks.set_share(self.parts.shares[args[1]])
        loss = super().training_step(*args, **kwargs)
        self.skipping = loss is None
        # Lightning would refuse None, lest some processes wait for others; `ranks.any_rank` sees to that
        return torch.zeros((), device=self.root_device) if self.skipping else loss

    def backward(self, closure_loss: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.skipping:
            return closure_loss  # without gradients, the optimiser leaves the weights
        return super().backward(closure_loss * ranks.share(), *args, **kwargs)


class TrainingParts:
    """A loader's batches, of each the part of one process, and in `shares` their weights (see `ranks.share`)."""

    def __init__(self, loader: DataLoader, rank: int, count: int) -> None:
        self.loader, self.rank, self.count = loader, rank, count
        self.sampler = loader.sampler  # Lightning tells it the epoch
        self.shares: list[float] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.shares = []
        for batch in self.loader:
            part, share = part_of(batch, self.rank, self.count)
            self.shares.append(share)
            yield part


class WholeBatches:
    """A loader's batches dealt out to the processes in turn; too few of them, and every process takes all.

    (Scores are means over samples, to which it is all the same how often all of them are counted.)
    """

    def __init__(self, loader: DataLoader, rank: int, count: int) -> None:
        self.loader = loader
        self.rank, self.step = (rank, count) if len(loader) >= count else (0, 1)

    def __len__(self) -> int:
        return len(range(self.rank, len(self.loader), self.step))

    def __iter__(self) -> Iterator[Any]:
        return (batch for i, batch in enumerate(self.loader) if i % self.step == self.rank)


def part_of(batch: Any, rank: int, count: int) -> tuple[Any, float]:
    """(the samples of a batch that are this process's, weight of their mean).

    A batch is a tensor, or tuples, dicts and lists of tensors whose first dimension is the batch; a list of anything
    else has one item a sample. Where there are fewer samples than processes, some take the first one with weight 0.
    """
    size = _size(batch)
    assert size, "a batch without a tensor or a list"
    first, end = size * rank // count, size * (rank + 1) // count
    return _cut(batch, slice(first, end) if end > first else slice(1)), count * (end - first) / size


def _size(batch: Any) -> int | None:
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else None
    if isinstance(batch, list) and not any(isinstance(item, CONTAINERS) for item in batch):
        return len(batch)
    if not isinstance(batch, CONTAINERS):
        return None
    items = batch.values() if isinstance(batch, dict) else batch
    return next((size for item in items if (size := _size(item)) is not None), None)


def _cut(batch: Any, part: slice) -> Any:
    if isinstance(batch, Tensor):
        return batch[part] if batch.dim() else batch
    if isinstance(batch, dict):
        return {name: _cut(item, part) for name, item in batch.items()}
    if isinstance(batch, list):
        nested = any(isinstance(item, CONTAINERS) for item in batch)
        return [_cut(item, part) for item in batch] if nested else batch[part]
    if isinstance(batch, tuple):
        items = [_cut(item, part) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else tuple(items)
    return batch
