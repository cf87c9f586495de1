"""What a VAE generates: images from latents that are the same at every epoch, in every row and on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tasks.engine.batches import mix_seed
from tasks.vae.data import as_bytes
from tasks.vae.inversion import BatchNorm
from tasks.vae.networks import VAE, decode

LATENTS = 6308  # mixed into the seed of the latents


class Generation:
    """Images of a network as it is when they are asked for; its mode and its running statistics stay.

    Args:
        network: the VAE.
        seed: of the latents.
        batch_norm: statistics used when generating: the `"running"` ones, or the `"batch"`'s.

    Raises:
        ValueError: another name of statistics; naming the key.
    """

    def __init__(self, network: VAE, seed: int, batch_norm: BatchNorm = "running") -> None:
        if batch_norm not in ("running", "batch"):
            raise ValueError(f"method.generate_batch_norm must be 'running' or 'batch', got {batch_norm!r}")
        self.network, self.seed, self.batch_norm = network, mix_seed(seed, LATENTS), batch_norm

    def latents(self, count: int) -> Tensor:
        """The first so many latents, (count, latent)."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        drawn = generator.standard_normal((count, self.network.latent), dtype=np.float32)
        return torch.from_numpy(drawn).to(next(self.network.parameters()).device)

    def decode(self, z: Tensor) -> Tensor:
        """Images on [−1, 1] of latents."""
        decoder, training = self.network.decoder, self.network.decoder.training
        if self.batch_norm == "batch":
            return decode(z, decoder.layers("batch"))
        try:
            images: Tensor = decoder.eval()(z)
        finally:
            decoder.train(training)
        return images

    @torch.no_grad()
    def images(self, count: int, batch_size: int) -> Iterator[Tensor]:
        """The images of the first so many latents, as uint8 batches."""
        for z in self.latents(count).split(batch_size):
            yield as_bytes(self.decode(z))
