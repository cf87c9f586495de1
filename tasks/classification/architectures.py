"""The paper's models by name: Q, R and S of each (the released models of March 2021; README, "Models")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from tasks.classification.features import ImageShape, convolutional, fully_connected
from tasks.classification.monotone import ConvMonotoneOperator, MonotoneOperator
from tasks.classification.operators import OneLayer, TwoLayers
from tasks.classification.resnet import resnet56

CLASSES = 10
POOL = 4  # pixels a side over which the convolutional monotone operator network averages its latents


@dataclass(frozen=True)
class Parts:
    """Q: images ↦ v; R: (u, v) ↦ u; S: u ↦ outputs of shape (batch, 10); u and v have shape (batch, latent).

    Those of a convolutional operator have shape (batch, latent, height, width).
    """

    features: nn.Module
    operator: nn.Module
    head: nn.Module
    latent: int


class FirstLatents(nn.Module):
    """S of CIFAR-10 without augmentation: the first ten latents are the outputs."""

    def forward(self, u: Tensor) -> Tensor:
        return u[:, :CLASSES]


def fc(image: ImageShape, bound: float | None) -> Parts:
    """MNIST, fully connected: 84,310 parameters."""
    features = fully_connected(image, 95, latent := 59)
    operator = OneLayer(latent, 1.0, 0.9, nn.ReLU(), nn.ReLU(), bound)
    return Parts(features, operator, nn.Linear(latent, CLASSES, bias=False), latent)


def conv(image: ImageShape, bound: float | None) -> Parts:
    """MNIST, convolutional: 84,182 parameters."""
    features = convolutional(image, [96, 40], 3, latent := 46, nn.ReLU(), [0, 1], nn.ReLU())
    operator = OneLayer(latent, 0.99, 1.0, nn.Identity(), nn.ReLU(), bound)
    return Parts(features, operator, nn.Linear(latent, CLASSES, bias=False), latent)


def mon_fc(image: ImageShape, bound: float | None) -> Parts:
    """MNIST, the fully connected monotone operator network of Winston & Kolter (2020): 84,313 parameters."""
    pixels, latent = image[0] * image[1] * image[2], 87
    features = nn.Sequential(nn.Flatten(), nn.Linear(pixels, latent))
    return Parts(features, MonotoneOperator(latent, 1.0), nn.Linear(latent, CLASSES), latent)


def mon_conv(image: ImageShape, bound: float | None, channels: int = 56) -> Parts:
    """The convolutional monotone operator network of Winston & Kolter (2020); MNIST's has 84,460 parameters.

    Raises:
        ValueError: an image of fewer than 4 pixels a side.
    """
    inputs, height, width = image
    if min(height, width) < POOL:
        raise ValueError(
            f"images of {height} × {width} pixels are too small to be averaged over {POOL} × {POOL} pixels"
        )
    head = [nn.AvgPool2d(POOL), nn.Flatten(), nn.Linear(channels * (height // POOL) * (width // POOL), CLASSES)]
    features = nn.Conv2d(inputs, channels, 3, padding=1)
    return Parts(features, ConvMonotoneOperator(channels, 1.0), nn.Sequential(*head), channels)


def svhn(image: ImageShape, bound: float | None) -> Parts:
    """SVHN: 153,530 parameters. S ends in a softmax, and the loss takes another (as released)."""
    features = convolutional(image, [30, 40], 5, latent := 100, nn.LeakyReLU(0.1), [], None)
    head = nn.Sequential(nn.Linear(latent, CLASSES), nn.Softmax(dim=1))
    return Parts(features, TwoLayers(latent, 0.99, bound), head, latent)


def cifar10(image: ImageShape, bound: float | None) -> Parts:
    """CIFAR-10 without augmentation: 171,786 parameters."""
    features = convolutional(image, [80, 90, 100], 3, latent := 52, nn.ReLU(), [1], nn.ReLU())
    operator = OneLayer(latent, 0.99, 1.0, nn.ReLU(), nn.Identity(), bound)
    return Parts(features, operator, FirstLatents(), latent)


def cifar10_aug(image: ImageShape, bound: float | None) -> Parts:
    """CIFAR-10 with augmentation, ResNet-56 features: 859,848 parameters (no model was released: appendix C.3)."""
    latent = 45
    return Parts(resnet56(image[0], latent), TwoLayers(latent, 0.99, bound), nn.Linear(latent, CLASSES), latent)


ARCHITECTURES: dict[str, Callable[[ImageShape, float | None], Parts]] = {
    "fc": fc,
    "conv": conv,
    "mon_fc": mon_fc,
    "mon_conv": mon_conv,
    "mon_conv_colour": partial(mon_conv, channels=81),  # SVHN and CIFAR-10: 172,218 parameters
    "mon_conv_small": partial(mon_conv, channels=8),  # for a CPU: an evaluation costs a fortieth
    "svhn": svhn,
    "cifar10": cifar10,
    "cifar10_aug": cifar10_aug,
}
