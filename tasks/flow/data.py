"""Lightning data modules of the flow task: FlyingChairs, MPI-Sintel and the flying shapes that stand in for them.

A batch is a dict: frame1, frame2 (B, 3, H, W) float32, RGB in [0, 1]; flow (B, 2, H, W) float32, pixels at full
resolution, u to the right, v downwards; valid (B, 1, H, W) bool. Evaluation batches hold one pair each, of any size,
and its "name". Training batch b of epoch e is a function of (seed, e, b) alone: a resumed run sees the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from tasks.flow import readers
from tasks.flow.augment import Augmentation
from tasks.flow.batches import (
    Batch,
    EpochAndIndices,
    EvaluationBatches,
    FilePairs,
    GeneratedPairs,
    Indices,
    Pairs,
    TrainingBatches,
    training_batch,
)
from tasks.flow.readers import PairFiles

HELD_OUT_SEED = 640_133  # of generated evaluation pairs, whatever the seed of the run


class FlowData(pl.LightningDataModule):
    """What the data sets share: batches, augmentation, loaders.

    The validation set is the test set, as in the paper, where nothing is selected by it.

    Args:
        seed: of order and augmentation.
        batch_size: training pairs a batch; an epoch leaves the last, smaller batch out.
        augment: changes every training batch; None: none.
        epoch_batches: batches an epoch at most, of a new order each epoch; None: all.
        n_train, n_eval: use only the first so many pairs; None: all.
        workers: processes that prepare batches (0: the training process itself).
        pin_memory: page-locked batches, copied to a CUDA device while it computes; without such a device no effect.
        on_device: make training batches (generation, augmentation) on the device that trains, not in workers.
    """

    label: str
    stand_in: bool

    def __init__(
        self,
        seed: int,
        batch_size: int,
        augment: Augmentation | None = None,
        epoch_batches: int | None = None,
        n_train: int | None = None,
        n_eval: int | None = None,
        workers: int = 0,
        pin_memory: bool = True,
        on_device: bool = False,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise ValueError(f"data.seed must not be negative, got {seed}")
        numbers = {"batch_size": batch_size, "epoch_batches": epoch_batches, "n_train": n_train, "n_eval": n_eval}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise ValueError(f"data.{name} must be at least 1, got {number}")
        self.seed, self.batch_size, self.augment, self.epoch_batches = seed, batch_size, augment, epoch_batches
        self.n_train, self.n_eval = n_train, n_eval
        self.workers, self.pin_memory, self.on_device = workers, pin_memory, on_device
        self.train: Pairs | None = None

    def load(self) -> tuple[Pairs, Pairs]:
        """Training and evaluation pairs, their files verified."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Find and verify the files, once; every stage has all sets."""
        if self.train is None:
            self.train, self.eval = self.load()

    def train_dataloader(self) -> DataLoader:
        assert self.train is not None, "setup() first"
        sampler = EpochAndIndices(len(self.train), self.batch_size, self.seed, self.epoch_batches)
        if self.on_device:  # the loader hands on indices; on_after_batch_transfer makes batches of them
            return DataLoader(Indices(), sampler=sampler, batch_size=None)
        return self._loader(TrainingBatches(self.train, self.augment, self.seed), sampler)

    def val_dataloader(self) -> DataLoader:
        return self._loader(EvaluationBatches(self.eval), sampler=None)

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the batch on the training device, if it is there as indices only."""
        if "indices" not in batch:
            return batch
        assert self.train is not None and self.trainer is not None
        device = self.trainer.strategy.root_device
        return training_batch(self.train, self.augment, self.seed, batch["epoch"], batch["indices"], device)

    def _loader(self, data: Dataset, sampler: EpochAndIndices | None) -> DataLoader:
        return DataLoader(
            data,
            sampler=sampler,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.pin_memory and torch.cuda.is_available(),
        )


class ChairsData(FlowData):
    """FlyingChairs in its official split: 22,232 training and 640 test pairs of 384x512."""

    label = "FlyingChairs"
    stand_in = False

    def load(self) -> tuple[Pairs, Pairs]:
        return _verified(readers.chairs("train")[: self.n_train], readers.chairs("val")[: self.n_eval])


class SintelData(FlowData):
    """MPI-Sintel's training set, split into 908 training and 133 test pairs of 436x1024; pass_name: clean | final."""

    stand_in = False

    def __init__(self, pass_name: str = "clean", **options: Any) -> None:
        super().__init__(**options)
        self.pass_name, self.label = pass_name, f"MPI-Sintel {pass_name}"

    def load(self) -> tuple[Pairs, Pairs]:
        train, val = (readers.sintel(split, self.pass_name) for split in ("train", "val"))
        return _verified(train[: self.n_train], val[: self.n_eval])


class ShapesData(FlowData):
    """Flying shapes for training; real pairs, or held-out shapes, for evaluation.

    Args:
        shapes: called with a seed, makes the set: the same training set for all seeds of a run.
        n_train: pairs in the training set (FlyingChairs: 22,232). n_eval: held-out pairs, where no real ones are taken.
        real_sets: of the fixed real pairs: chairs, sintel, middlebury; none: held-out shapes.
        set_seed: of the training set.
    """

    stand_in = True

    def __init__(
        self, shapes: Any, real_sets: Sequence[str] = (), set_seed: int = 0, n_train: int = 22_232, n_eval: int = 64,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(n_train=n_train, n_eval=n_eval, **options)
        if set_seed == HELD_OUT_SEED:
            raise ValueError(f"data.set_seed must not be {HELD_OUT_SEED}, the seed of the held-out pairs")
        self.make_shapes, self.set_seed, self.real_sets = shapes, set_seed, tuple(real_sets)
        evaluated = f"real pairs of {', '.join(real_sets)}" if real_sets else "held-out shapes"
        self.label = f"flying shapes, evaluated on {evaluated}"

    def load(self) -> tuple[Pairs, Pairs]:
        assert self.n_train is not None and self.n_eval is not None
        train = GeneratedPairs(self.make_shapes(seed=self.set_seed), self.n_train)
        if not self.real_sets:
            return train, GeneratedPairs(self.make_shapes(seed=HELD_OUT_SEED), self.n_eval)
        real = readers.real_pairs(self.real_sets)
        readers.verify(real)
        return train, FilePairs(real)


def _verified(train: list[PairFiles], val: list[PairFiles]) -> tuple[Pairs, Pairs]:
    readers.verify([*train, *val])
    return FilePairs(train), FilePairs(val)
