"""Pairs of the flow task by index, and batches of them: what each is a function of, on a CPU worker or a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tasks.engine.batches import EpochBatches, mix_seed
from tasks.flow import readers
from tasks.flow.augment import Augmentation
from tasks.flow.readers import PairFiles
from tasks.flow.shapes import FlyingShapes

Batch = dict[str, Any]


class Pairs(Protocol):
    """Pairs by index: FilePairs, GeneratedPairs."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch: ...

    def name(self, index: int) -> str: ...


class FilePairs:
    """Pairs on disk. Raises readers.OddFilesError if pairs of one batch differ in size."""

    def __init__(self, files: Sequence[PairFiles]) -> None:
        self.files = list(files)

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files[index].name

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        return _join([{k: v[None].to(device) for k, v in readers.load_pair(self.files[i]).items()} for i in indices])


class GeneratedPairs:
    """The first n flying shapes of a set."""

    def __init__(self, shapes: FlyingShapes, n: int) -> None:
        self.shapes, self.n = shapes, n

    def __len__(self) -> int:
        return self.n

    def name(self, index: int) -> str:
        return f"shapes/{index + 1:05d}"

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        return self.shapes.batch(indices, device)


class EpochAndIndices(EpochBatches):
    """(epoch, indices of a batch): shuffled by (seed, epoch), at most `limit` batches an epoch.

    Lightning calls `set_epoch` before each training epoch.
    """

    def __init__(self, n: int, batch_size: int, seed: int, limit: int | None = None) -> None:
        super().__init__(n, batch_size, seed, drop_last=True)
        self.limit = limit

    def __len__(self) -> int:
        batches = super().__len__()
        return batches if self.limit is None else min(batches, self.limit)

    def __iter__(self) -> Iterator[Any]:
        return ((self.epoch, indices.tolist()) for indices in super().__iter__())


class TrainingBatches(Dataset[Batch]):
    """Training batches by (epoch, indices)."""

    def __init__(self, pairs: Pairs, augment: Augmentation | None, seed: int) -> None:
        self.pairs, self.augment, self.seed = pairs, augment, seed

    def __getitem__(self, index: tuple[int, list[int]]) -> Batch:
        epoch, indices = index
        # one by one: a crop may make equal sizes of different ones
        ones = [training_batch(self.pairs, self.augment, self.seed, epoch, [i], "cpu") for i in indices]
        return _join(ones)


class Indices(Dataset[Batch]):
    """What a batch is to be made of, where the training device makes it."""

    def __getitem__(self, index: tuple[int, list[int]]) -> Batch:
        return {"epoch": index[0], "indices": index[1]}


class EvaluationBatches(Dataset[Batch]):
    """One pair a batch, in order, with its name."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Batch:
        return {**self.pairs.batch([index]), "name": [self.pairs.name(index)]}


def training_batch(
    pairs: Pairs, augment: Augmentation | None, seed: int, epoch: int, indices: list[int], device: torch.device | str
) -> Batch:
    """The pairs of these indices as epoch `epoch` shows them: a function of the arguments alone."""
    batch = pairs.batch(indices, device)
    return batch if augment is None else augment(batch, [mix_seed(seed, epoch, i) for i in indices])


def _join(batches: list[Batch]) -> Batch:
    sizes = {tuple(batch["flow"].shape[2:]) for batch in batches}
    if len(sizes) > 1:
        found = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise readers.OddFilesError(
            f"pairs of different sizes in one batch: {found}. Fix: set data.augment.crop, or data.batch_size=1."
        )
    return {name: _cat([batch[name] for batch in batches]) for name in batches[0]}


def _cat(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
