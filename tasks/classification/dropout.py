"""Dropout with probability 1/2, made fast on a CPU: it was two thirds of a training step.

The library draws one uniform number an entry; one random bit is enough for a fair coin.
``scripts/bench/classification.py`` compares them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FairDropout(nn.Dropout):
    """`nn.Dropout(0.5)`: each entry becomes 0 or twice itself, by the global generator of random numbers."""

    def __init__(self) -> None:
        super().__init__(0.5)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        count = input.numel()
        octets = torch.empty(-(-count // 8), dtype=torch.int64).random_().view(torch.uint8)[:count]
        # the lowest bit of each byte: random_() leaves the highest bit of an integer 0
        factors = octets.bitwise_and_(1).to(input.dtype).mul_(2)
        if input.is_contiguous(memory_format=torch.channels_last) and input.dim() == 4:
            return input * factors.as_strided(input.shape, input.stride())
        return input * factors.reshape(input.shape)
