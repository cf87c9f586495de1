"""The paper's models: sizes, shapes and the features' behaviour."""

from __future__ import annotations

import pytest
import torch

from tasks.classification.architectures import ARCHITECTURES, FirstLatents
from tasks.classification.features import convolutional
from tasks.classification.resnet import resnet56

# (image shape, latent, parameters): released checkpoints; appendix C.3, table 1 (860K) for cifar10_aug; the MON paper
PUBLISHED = {
    "fc": ((1, 28, 28), 59, 84_310),
    "conv": ((1, 28, 28), 46, 84_182),
    "mon_fc": ((1, 28, 28), 87, 84_313),
    "mon_conv": ((1, 28, 28), 56, 84_460),
    "mon_conv_colour": ((3, 32, 32), 81, 172_218),
    "mon_conv_small": ((1, 28, 28), 8, 5_164),  # ours
    "svhn": ((3, 32, 32), 100, 153_530),
    "cifar10": ((3, 32, 32), 52, 171_786),
    "cifar10_aug": ((3, 32, 32), 45, 859_848),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_models_have_the_published_shapes(name: str) -> None:
    image, latent, parameters = PUBLISHED[name]
    parts = ARCHITECTURES[name](image, 1.0)
    modules = (parts.features, parts.operator, parts.head)
    assert sum(p.numel() for module in modules for p in module.parameters()) == parameters
    v = parts.features(torch.randn(3, *image))
    assert v.shape == (3, latent, *v.shape[2:]) and parts.latent == latent
    assert v.shape[2:] == (image[1:] if "conv" in name and "mon" in name else ())
    inject = getattr(parts.operator, "inject", None)
    u = parts.operator(torch.randn_like(v), v if inject is None else inject(v))
    assert u.shape == v.shape and parts.head(u).shape == (3, 10)


def test_the_softmax_is_svhns_alone() -> None:
    torch.testing.assert_close(ARCHITECTURES["svhn"]((3, 32, 32), 1.0).head(torch.randn(4, 100)).sum(1), torch.ones(4))
    u = torch.randn(4, 52)
    assert torch.equal(FirstLatents()(u), u[:, :10])


def test_activation_after_pooling_is_activation_before_pooling() -> None:
    net = convolutional((2, 9, 9), [3], 2, 4, torch.nn.LeakyReLU(0.1), [], None)
    conv, pool, activation, flat, last = net
    x = torch.randn(5, 2, 9, 9)
    torch.testing.assert_close(last(flat(pool(activation(conv(x))))), net(x))


def test_resnet_has_56_layers_and_its_published_size() -> None:
    net = resnet56(3, 10)
    weights = [p for p in net.parameters() if p.dim() > 1]
    assert len(weights) == 56
    assert sum(p.numel() for p in net.parameters()) == 853_018  # with the classifier of 10 outputs: 0.85M in the paper
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="8 × 8 pixels are too small for 2 convolutions with kernel 5"):
        ARCHITECTURES["svhn"]((3, 8, 8), 1.0)
    with pytest.raises(ValueError, match="3 × 8 pixels are too small to be averaged over 4 × 4"):
        ARCHITECTURES["mon_conv"]((1, 3, 8), 1.0)
