"""The convolution of the experiment's networks, made fast on a CPU where one side has a single channel.

The library's CPU convolution from 32 channels to 1 takes seven times as long as the one from 1 to 32, although both do
the same work: its kernels vectorise over output channels.  As one matrix product with the k² taps and a sum of k²
shifted images it is three times as fast; the product from 1 to 32 channels is written so that its backward pass, which
leads from 32 to 1, has that form, too.  ``scripts/bench/denoising.py`` compares them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A k × k convolution with stride 1 and zero padding, images keep their size; parameters are nn.Conv2d's.

    Args:
        in_channels, out_channels: of the images.
        kernel_size: k, odd.

    Raises:
        ValueError: k is not a positive odd number.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be a positive odd number, got {kernel_size}")
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type == "cpu" and weight.shape[0] == 1:
            out = gather(input, weight)
        elif input.device.type == "cpu" and weight.shape[1] == 1 and torch.is_grad_enabled():
            out = spread(input, weight)
        else:
            return super()._conv_forward(input, weight, bias)
        return out if bias is None else out + bias[:, None, None]


def spread(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution from one channel to C: x (N, 1, H, W), weight (C, 1, k, k); result (N, C, H, W)."""
    (n, _, height, width), k = x.shape, weight.shape[-1]
    shifted = F.unfold(x, k, padding=k // 2)
    return torch.bmm(weight.flatten(1).expand(n, -1, -1), shifted).reshape(n, -1, height, width)


def gather(h: Tensor, weight: Tensor) -> Tensor:
    """Convolution from C channels to one: h (N, C, H, W), weight (1, C, k, k); result (N, 1, H, W)."""
    (n, channels, height, width), k = h.shape, weight.shape[-1]
    taps = weight.flip(2, 3).reshape(channels, k * k).t()
    return F.fold(torch.bmm(taps.expand(n, -1, -1), h.reshape(n, channels, -1)), (height, width), k, padding=k // 2)
