"""ResNet-56 for 32 × 32 images (He et al. 2016, section 4.2), with as many outputs as wanted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = 9  # a stage: 6 · 9 + 2 = 56 layers


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch normalisation beside a shortcut without parameters (option A of the paper)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.more = outputs // inputs, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.more:  # every other pixel, zeros for the new channels
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(hidden + x)


def resnet56(channels: int, outputs: int) -> nn.Sequential:
    """Images with so many channels ↦ outputs: stages of 16, 32, 64 channels, the mean over pixels, a linear layer."""
    stem = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    widths = [16, *[16] * BLOCKS, *[32] * BLOCKS, *[64] * BLOCKS]
    blocks = [Block(a, b) for a, b in zip(widths, widths[1:], strict=False)]
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, outputs))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
