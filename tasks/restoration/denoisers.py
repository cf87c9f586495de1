"""Gaussian denoisers for a given noise level: the authors' 25 published networks, and a small one of our own to train.

All predict the noise: 𝒜(x) = x − CNN(x), convolutions with dilations that rise and fall, ReLU between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tasks.restoration.hdf5 import open_hdf5

PUBLISHED_DILATIONS = (1, 2, 3, 4, 3, 2, 1)
COUNT = 25  # published networks; number k is for the noise level 2k


def dilated_network(inputs: int, channels: int, dilations: Sequence[int]) -> nn.Sequential:
    """3 × 3 convolutions inputs → channels → … → 1 with these dilations, zero padding, ReLU between."""
    widths = [inputs, *[channels] * (len(dilations) - 1), 1]
    layers: list[nn.Module] = []
    for i, d in enumerate(dilations):
        layers += [nn.Conv2d(widths[i], widths[i + 1], 3, padding=d, dilation=d), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class OwnDenoiser(nn.Module):
    """One network for all noise levels, which it gets as a second channel (as FFDNet, Zhang et al. 2018).

    Args:
        channels, dilations: of its convolutions.
    """

    def __init__(self, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.net = dilated_network(2, channels, dilations)
        with torch.no_grad():
            self.net[-1].weight.mul_(0.1)  # type: ignore[operator]

    def forward(self, x: Tensor, level: float | Tensor) -> Tensor:
        """𝒜(x) at a noise level in grey levels of 255: a number, or one an image, (batch, 1, 1, 1)."""
        channel = torch.as_tensor(level / 255, dtype=x.dtype, device=x.device).expand_as(x)
        denoised: Tensor = x - self.net(torch.cat([x, channel], 1))
        return denoised


class PublishedDenoisers(nn.Module):
    """The authors' networks 1 … 25; a level of σ takes number ⌈σ / 2⌉.  They are not trained further.

    Args:
        folder: that has net1.hdf5 … net25.hdf5.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.nets = nn.ModuleList(load_published(folder / f"net{k}.hdf5") for k in range(1, COUNT + 1))
        self.requires_grad_(False)

    def forward(self, x: Tensor, level: float) -> Tensor:
        """𝒜(x) at a noise level in grey levels of 255."""
        denoised: Tensor = x - self.nets[min(COUNT, max(1, math.ceil(level / 2 - 1e-9))) - 1](x)
        return denoised


def load_published(path: Path) -> nn.Sequential:
    """One of the authors' Keras files (kernels HWIO) as a network of ours.

    Raises:
        ValueError: it has other layers, shapes or values that are not finite; the message names the file.
    """
    net = dilated_network(1, 64, PUBLISHED_DILATIONS)
    convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
    with open_hdf5(path) as file:
        layers = file["model_weights"]
        names = [name.decode() for name in layers.attrs["layer_names"] if name.startswith(b"conv")]
        if len(names) != len(convolutions):
            raise ValueError(f"{path} has {len(names)} convolutions, expected {len(convolutions)}")
        for name, layer in zip(names, convolutions, strict=True):
            kernel, bias = (np.asarray(layers[name][name][part]) for part in ("kernel:0", "bias:0"))
            weight = torch.from_numpy(kernel).permute(3, 2, 0, 1)
            if weight.shape != layer.weight.shape:
                raise ValueError(
                    f"{path}, {name}: channels (out, in) and kernel {tuple(weight.shape)}, expected "
                    f"{tuple(layer.weight.shape)}: a denoiser of gray images with 64 channels"
                )
            if not np.isfinite(kernel).all() or not np.isfinite(bias).all():
                raise ValueError(f"{path}, {name}: weights that are not finite")
            with torch.no_grad():
                layer.weight.copy_(weight)
                assert layer.bias is not None
                layer.bias.copy_(torch.from_numpy(bias))
    return net
