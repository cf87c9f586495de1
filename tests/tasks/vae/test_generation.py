"""tasks.vae.generation: the same latents for every row, and a decoder that stays as it is."""

from __future__ import annotations

import torch

from tasks.vae.generation import Generation
from tasks.vae.networks import VAE


def network(seed: int) -> VAE:
    """A small network in training mode, whose batch normalisation has seen something."""
    torch.manual_seed(seed)
    vae = VAE([4, 8], 4, 8)
    vae.decoder(torch.randn(64, 4))
    return vae.train()


def test_all_rows_generate_from_the_same_latents_and_seeds_from_others() -> None:
    one, other = Generation(network(0), 0), Generation(network(1), 0)
    assert torch.equal(one.latents(5), other.latents(60)[:5])
    assert not torch.equal(one.latents(5), Generation(network(0), 1).latents(5))


def test_images_are_bytes_of_the_decoder_which_stays_as_it_is() -> None:
    vae = network(0)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    images = torch.cat(list(Generation(vae, 0).images(60, 16)))
    assert images.shape == (60, 3, 8, 8) and images.dtype == torch.uint8
    assert not torch.equal(torch.cat(list(Generation(vae, 0, "batch").images(60, 16))), images)
    assert vae.decoder.training
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
