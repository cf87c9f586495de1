"""Modules that go wrong in the second of two processes alone."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.denoising.module import Denoising
from tests.e2e.tiny import TinyModule


class FailsInHelper(TinyModule):
    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        if self.global_rank == 1 and index == 3:
            raise ZeroDivisionError("asked to fail")
        return super().training_step(batch, index)


class DivergesInHelper(Denoising):
    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor | None:
        if self.global_rank == 1 and self.current_epoch == 1 and index == 1:
            batch = (batch[0], batch[1] * torch.nan)
        return super().training_step(batch, index)
