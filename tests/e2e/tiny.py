"""A task small enough for tests, with everything that makes exact resuming hard: dropout, shuffling, momentum, a
schedule stepped by epoch, selection of the best epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tasks.engine.batches import EpochBatches
from tasks.engine.lean import Module

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(__file__).parent / "configs"
MARK = "FPI_TEST_EPOCH_ENDED"  # environment variable: file that appears when a first epoch has ended
SEARCH = f"hydra.searchpath=[file://{CONFIGS}]"


def config(*overrides: str) -> DictConfig:
    """The config of `scripts/train.py experiment=tiny/good <overrides>`, where the overrides name no experiment."""
    named = any(override.startswith("experiment=") for override in overrides)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("train", [SEARCH, *([] if named else ["experiment=tiny/good"]), *overrides])


class TinyData(pl.LightningDataModule):
    label = "tiny"
    stand_in = False

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        z = torch.randn(60, 4, generator=generator)
        self.seed, self.data = seed, TensorDataset(z, z.sum(1, keepdim=True) + torch.randn(60, 1, generator=generator))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.data, sampler=EpochBatches(60, 8, self.seed), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.data, sampler=EpochBatches(60, 60, 0, shuffle=False), batch_size=None)

    test_dataloader = val_dataloader


class TinyModule(Module):
    distributes = True

    def __init__(self, dropout: float, delay: float = 0.0, fail_at: int | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1))
        self.delay, self.fail_at = delay, fail_at

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[object]]:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3, 5], gamma=0.5)]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        if self.current_epoch == self.fail_at and index == 3:
            raise ZeroDivisionError("asked to fail")
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]), sync_dist=True)
        return loss

    def on_train_epoch_end(self) -> None:
        time.sleep(self.delay)
        if MARK in os.environ:
            Path(os.environ[MARK]).touch()
        self.log("cost/g_evaluations", 8.0)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("val/loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]), batch_size=len(batch[0]))

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("test/loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]), batch_size=len(batch[0]))


@contextmanager
def failing(epoch: int) -> Iterator[None]:
    """Every TinyModule fails in the middle of this epoch, without a change of the config."""
    step = TinyModule.training_step

    def training_step(self: TinyModule, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        if self.current_epoch == epoch and index == 3:
            raise ZeroDivisionError("asked to fail")
        return step(self, batch, index)

    TinyModule.training_step = training_step  # type: ignore[method-assign]
    try:
        yield
    finally:
        TinyModule.training_step = step  # type: ignore[method-assign]
