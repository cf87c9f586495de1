"""Fréchet distances of generated images to real ones, with their floor: the distance of real images to real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from tasks.engine import console
from tasks.vae.features import available
from tasks.vae.frechet import Moments, frechet_distance

Batches = Callable[[], Iterable[Tensor]]  # each call: uint8 images in batches of shape (n, 3, height, width)


class Distance:
    """One distance to a fixed set of real images.

    Args:
        name: e.g. "fid".
        extractor: maps uint8 images to features (batch, dimensions).
        reference: the real images.
        others: as many other real images, for the floor; None: there are none.
    """

    def __init__(self, name: str, extractor: nn.Module, reference: Batches, others: Batches | None) -> None:
        self.name, self.extractor = name, extractor
        self.reference = self._moments(reference())
        self.floor = math.nan if others is None else frechet_distance(self._moments(others()), self.reference)
        count, dimensions = self.reference.count, int(extractor.dimensions)  # type: ignore[arg-type]
        if count <= dimensions:
            floor = "not known" if math.isnan(self.floor) else f"{self.floor:.4g}"
            console.warn(
                f"{name}: {count} images for {dimensions} dimensions: the covariance is singular and the distance "
                f"biased upwards. Its floor, real against real images of that number, is {floor}; use more than "
                f"{dimensions} (data.n_eval)."
            )

    def __call__(self, images: Iterable[Tensor]) -> float:
        """The distance of these images, uint8 batches, to the reference."""
        return frechet_distance(self._moments(images), self.reference)

    @torch.no_grad()
    def _moments(self, images: Iterable[Tensor]) -> Moments:
        moments = Moments()
        for batch in images:
            with torch.autocast(batch.device.type, enabled=False):  # whatever precision the images were made in
                moments.update(self.extractor(batch))
        return moments


def build(
    names: list[str], device: torch.device, reference: Batches, others: Batches | None
) -> tuple[list[Distance], dict[str, str]]:
    """The distances that can be had here, and the reasons for the others (see `tasks.vae.features.available`)."""
    extractors, missing = available(names)

    def moved(batches: Batches) -> Batches:
        return lambda: (batch.to(device, non_blocking=True) for batch in batches())

    return [
        Distance(name, extractor.to(device), moved(reference), None if others is None else moved(others))
        for name, extractor in extractors.items()
    ], missing
