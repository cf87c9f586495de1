"""U-Net (Ronneberger, Fischer and Brox 2015), padded so that features have the image's size (thesis 6.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UNet(nn.Module):
    """Features of an image, one vector a pixel.

    Two 3×3 convolutions with ReLU a level; max-pooling down; a transposed convolution up, concatenated with the level's
    own features; a 1×1 convolution at the end.  Weights start as in the paper, N(0, 2 / inputs), which keeps the
    image's scale through the levels; those of the 1×1 convolution then shrink by `head_scale`.

    Args:
        channels: of the levels, the finest first; their number is the depth (thesis: 3).
        features: of the result.
        in_channels: of the image.
        head_scale: factor on the last layer's initial weights.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128),
        features: int = 16,
        in_channels: int = 3,
        head_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not channels or min(*channels, features) < 1:
            raise ValueError(f"UNet: channels and features must be positive, got {list(channels)} and {features}")
        levels = list(channels)
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([in_channels, *levels[:-1]], levels, strict=True))
        pairs = list(zip(levels[:-1], levels[1:], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.merge = nn.ModuleList(_block(2 * fine, fine) for fine, _ in pairs)
        self.head = nn.Conv2d(levels[0], features, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.head.weight *= head_scale

    def forward(self, image: Tensor) -> Tensor:
        """(batch, in_channels, height, width) -> (batch, features, height, width), any size."""
        height, width = image.shape[-2:]
        multiple = 2 ** (len(self.down) - 1)
        x = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        features: Tensor = self.head(x)
        return features[:, :, :height, :width]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )
