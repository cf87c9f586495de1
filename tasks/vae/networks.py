"""The VanillaVAE of AntixK/PyTorch-VAE (thesis reference [58]): convolutional encoder and decoder, figure 6.8.

Images are float32 of shape (batch, 3, size, size) on [−1, 1], latents z of shape (batch, latent).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01  # of LeakyReLU
Layer = tuple[Tensor, ...]  # (weight, bias), or (weight, bias, scale, shift) where the batch's statistics come between


class Encoder(nn.Module):
    """Image ↦ mean and log-variance of the latent's normal distribution.

    Args:
        hidden: channels of the stride-2 convolutions (thesis: 32, 64, 128, 256, 512).
        latent: entries of z (thesis: 128).
        size: side of the images, a multiple of 2 to the number of convolutions (thesis: 64).
    """

    def __init__(self, hidden: Sequence[int], latent: int, size: int) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(SLOPE))
            for i, o in zip([3, *hidden], hidden, strict=False)
        ]
        self.blocks = nn.Sequential(*blocks)
        features = hidden[-1] * _smallest(hidden, size) ** 2
        self.mean, self.log_variance = nn.Linear(features, latent), nn.Linear(features, latent)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Both of shape (batch, latent)."""
        features = self.blocks(image).flatten(1)
        return self.mean(features), self.log_variance(features)


class Decoder(nn.Module):
    """Latent ↦ image: a linear layer, then transposed convolutions that double the side, with the encoder's channels.

    Args: as for `Encoder`.
    """

    def __init__(self, hidden: Sequence[int], latent: int, size: int) -> None:
        super().__init__()
        side, down = _smallest(hidden, size), list(reversed(hidden))
        self.shape = (down[0], side, side)
        self.input = nn.Linear(latent, down[0] * side * side)
        blocks = [
            nn.Sequential(
                nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1),
                nn.BatchNorm2d(o),
                nn.LeakyReLU(SLOPE),
            )
            for i, o in zip(down, [*down[1:], down[-1]], strict=True)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Conv2d(down[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        image: Tensor = torch.tanh(self.output(self.blocks(self.input(z).unflatten(1, self.shape))))
        return image

    def layers(self, batch_norm: str) -> list[Layer]:
        """The decoder as tensors for `decode`: what an energy needs once per solve, part of the graph.

        Args:
            batch_norm: `"running"`, the decoder of evaluation, its batch normalisation folded into the convolutions; or
                `"batch"`, normalisation by the statistics of the latents decoded together.
        """
        found: list[Layer] = [(self.input.weight, self.input.bias)]
        for block in self.blocks:
            convolution, norm = cast(nn.ConvTranspose2d, block[0]), cast(nn.BatchNorm2d, block[1])  # type: ignore[index]
            assert convolution.bias is not None and norm.running_mean is not None and norm.running_var is not None
            if batch_norm == "batch":
                found.append((convolution.weight, convolution.bias, norm.weight, norm.bias))
                continue
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift = norm.bias + (convolution.bias - norm.running_mean) * scale
            found.append((convolution.weight * scale[:, None, None], shift))
        assert self.output.bias is not None
        return [*found, (self.output.weight, self.output.bias)]


def decode(z: Tensor, layers: Sequence[Layer]) -> Tensor:
    """`Decoder.forward` by the tensors of `Decoder.layers`."""
    (weight, bias), *blocks, (last_weight, last_bias) = layers
    channels = blocks[0][0].shape[0]
    side = round((weight.shape[0] / channels) ** 0.5)
    hidden = F.linear(z, weight, bias).unflatten(1, (channels, side, side))
    for weight, bias, *norm in blocks:
        hidden = F.conv_transpose2d(hidden, weight, bias, stride=2, padding=1, output_padding=1)
        if norm:
            hidden = F.batch_norm(hidden, None, None, norm[0], norm[1], training=True)
        hidden = F.leaky_relu(hidden, SLOPE)
    return torch.tanh(F.conv2d(hidden, last_weight, last_bias, padding=1))


class VAE(nn.Module):
    """Encoder and decoder; 3,937,635 parameters with the thesis' sizes.

    Args:
        hidden, latent, size: see `Encoder`.

    Raises:
        ValueError: a size that the strides do not divide.
    """

    def __init__(self, hidden: Sequence[int] = (32, 64, 128, 256, 512), latent: int = 128, size: int = 64) -> None:
        super().__init__()
        if not hidden or size < 2 ** len(hidden) or size % 2 ** len(hidden):
            raise ValueError(f"the images' side must be a multiple of 2^{len(hidden)} for hidden={hidden}, got {size}")
        self.latent, self.size, self.hidden = latent, size, tuple(hidden)
        self.encoder = Encoder(hidden, latent, size)
        self.decoder = Decoder(hidden, latent, size)


def _smallest(hidden: Sequence[int], size: int) -> int:
    """Side of the smallest feature map."""
    return size // 2 ** len(hidden)
