"""The data-space maps Q of the paper's models: images ↦ latent features v (Wu Fung et al. 2021, appendix C)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tasks.classification.dropout import FairDropout

ImageShape = tuple[int, int, int]  # channels, height, width


def fully_connected(image: ImageShape, hidden: int, latent: int) -> nn.Sequential:
    """Two linear layers, each with ReLU."""
    pixels = image[0] * image[1] * image[2]
    layers = [nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, latent), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers)


def convolutional(
    image: ImageShape,
    channels: Sequence[int],
    kernel_size: int,
    latent: int,
    activation: nn.Module,
    dropout: Sequence[int],
    last: nn.Module | None,
) -> nn.Sequential:
    """Convolutions without padding, each followed by max-pooling by 2 and the activation; then one linear layer.

    Args:
        image: shape of the images.
        channels: outputs of each convolution.
        kernel_size: of all convolutions.
        latent: outputs of the linear layer.
        activation: an increasing function, so that it may follow the pooling, where there is less to compute.
        dropout: positions among the convolutions whose outputs are dropped with probability 1/2 in training.
        last: after the linear layer.

    Raises:
        ValueError: the image is too small for that many convolutions.
    """
    layers: list[nn.Module] = []
    depth, height, width = image
    for position, count in enumerate(channels):
        height, width = (height - kernel_size + 1) // 2, (width - kernel_size + 1) // 2
        if height < 1 or width < 1:
            raise ValueError(
                f"images of {image[1]} × {image[2]} pixels are too small for {len(channels)} convolutions with kernel "
                f"{kernel_size}, each followed by pooling: choose larger data.side or another architecture"
            )
        layers.append(nn.Conv2d(depth, count, kernel_size))
        layers += [FairDropout()] if position in dropout else []
        layers += [nn.MaxPool2d(2), activation]
        depth = count
    layers += [nn.Flatten(), nn.Linear(depth * height * width, latent)]
    layers += [] if last is None else [last]
    net = nn.Sequential(*layers)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
