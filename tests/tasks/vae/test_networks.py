"""tasks.vae.networks: sizes, and the decoder as tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasks.vae.networks import VAE, Decoder, decode


def trained(size: int = 16) -> VAE:
    """A small network whose batch normalisation has seen something."""
    torch.manual_seed(0)
    vae = VAE([4, 8], 5, size)
    for module in vae.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    nn.init.normal_(vae.decoder.input.weight)  # images that depend on their latents
    vae.decoder(torch.randn(64, 5))
    return vae


def test_the_thesis_network_has_its_parameters_and_shapes() -> None:
    vae = VAE()
    assert sum(parameter.numel() for parameter in vae.parameters()) == 3_937_635
    mean, log_variance = vae.encoder(torch.zeros(2, 3, 64, 64))
    assert mean.shape == log_variance.shape == (2, 128)
    assert vae.decoder(mean).shape == (2, 3, 64, 64)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_running_statistics_are_folded_into_the_convolutions(size: int) -> None:
    vae = trained(size)
    z = torch.randn(3, 5)
    layers = vae.decoder.layers("running")
    assert all(len(layer) == 2 for layer in layers)
    torch.testing.assert_close(decode(z, layers), vae.decoder.eval()(z), atol=1e-5, rtol=1e-4)


def test_statistics_of_the_batch_leave_the_running_ones_alone() -> None:
    vae = trained()
    z = torch.randn(7, 5)
    before = {name: value.clone() for name, value in vae.decoder.named_buffers()}
    ours = decode(z, vae.decoder.layers("batch"))
    assert all(torch.equal(value, before[name]) for name, value in vae.decoder.named_buffers())
    torch.testing.assert_close(ours, vae.decoder.train()(z), atol=1e-5, rtol=1e-4)


def test_gradients_through_the_tensors_are_the_modules() -> None:
    vae = trained()
    decoder, z = vae.decoder.eval(), torch.randn(3, 5)
    expected = torch.autograd.grad(decoder(z).square().sum(), list(decoder.parameters()))
    found = torch.autograd.grad(decode(z, decoder.layers("running")).square().sum(), list(decoder.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("hidden", "size"), [([4, 8], 6), ([4, 8], 2), ([], 8)])
def test_sizes_that_the_strides_do_not_divide_are_refused(hidden: list[int], size: int) -> None:
    with pytest.raises(ValueError, match="multiple of"):
        VAE(hidden, 5, size)


def test_a_decoder_has_no_side_effects_on_evaluation() -> None:
    decoder = Decoder([4, 8], 5, 8).eval()
    assert torch.equal(decoder(torch.zeros(1, 5)), decoder(torch.zeros(1, 5)))
