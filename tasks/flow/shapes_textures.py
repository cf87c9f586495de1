"""Textures of the flying shapes: a bank of 512x512 RGB images, procedural and, if wanted, natural.

Made of integers only (from NumPy's Philox, whose raw stream is fixed), so that a bank is the same bytes everywhere.
Natural textures are the photographs that scikit-image packages (public domain or CC0; PNG, so that decoding is exact).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 512  # a power of two: the renderer wraps coordinates, mirrored, with bit operations
PHOTOGRAPHS = ("astronaut", "coffee", "cat", "camera", "brick", "grass", "gravel")

Image = NDArray[np.uint8]  # (SIDE, SIDE, 3)
Plane = NDArray[np.int64]


class Bits:
    """Counter-based random integers: Philox keyed by `key`; the same numbers on every machine and NumPy version."""

    def __init__(self, *key: int) -> None:
        words = np.array([*key, 0][:2], dtype=np.uint64)
        self._philox = np.random.Philox(key=words)

    def below(self, high: int, *shape: int) -> NDArray[np.int64]:
        """Integers of [0, high), high up to 2^31."""
        raw = self._philox.random_raw(int(np.prod(shape, dtype=np.int64))).reshape(shape)
        return (((raw >> np.uint64(33)) * np.uint64(high)) >> np.uint64(31)).astype(np.int64)

    def one(self, low: int, high: int) -> int:
        """One integer of [low, high)."""
        return low + int(self.below(high - low, 1)[0])


@cache
def texture_bank(procedural: int, natural: bool, seed: int = 0) -> Image:
    """The bank (n, 512, 512, 3) uint8: `procedural` generated textures, then, if `natural`, the photographs.

    Raises ValueError for an empty bank, ImportError if photographs are wanted without scikit-image.
    """
    if procedural < 0 or (procedural == 0 and not natural):
        raise ValueError(f"the texture bank is empty: procedural={procedural}, natural={natural}")
    makers = (_leaves, _noise, _stripes, _cells)
    images = [_detail(makers[i % 4](Bits(seed, i)), Bits(seed, i + 2**32)) for i in range(procedural)]
    return np.stack(images + (_photographs() if natural else []))


def _photographs() -> list[Image]:
    try:
        from skimage import data
    except ImportError as error:
        raise ImportError(
            "natural textures are the photographs of scikit-image, which is not installed; "
            "Fix: pip install scikit-image, or data.natural=false for procedural textures alone"
        ) from error
    images = []
    for name in PHOTOGRAPHS:
        image = getattr(data, name)()
        image = image if image.ndim == 3 else image[:, :, None].repeat(3, axis=2)
        height, width = (max(SIDE - side, 0) for side in image.shape[:2])
        image = np.pad(image, ((0, height), (0, width), (0, 0)), mode="symmetric")
        top, left = ((side - SIDE) // 2 for side in image.shape[:2])
        images.append(image[top : top + SIDE, left : left + SIDE].astype(np.uint8))
    return images


def _colours(bits: Bits, *shape: int) -> Plane:
    """Random colours (*shape, 3) of all lightnesses, moderately saturated as most of the world is."""
    gray = 16 + bits.below(224, *shape, 1)
    return np.clip(gray + bits.below(161, *shape, 3) - 80, 0, 255)


def value_noise(bits: Bits, side: int, coarsest: int, octaves: int) -> Plane:
    """Smooth noise (side, side) of 0...255: lattices of 2^coarsest, 2^(coarsest + 1), ... cells, halving weights."""
    total = np.zeros((side, side), np.int64)
    weights = 0
    for octave in range(octaves):
        cells, weight = 2 ** (coarsest + octave), 2 ** (octaves - 1 - octave)
        total += weight * _enlarge(bits.below(256, cells + 1, cells + 1), side // cells)
        weights += weight
    return total // weights


def _enlarge(lattice: Plane, step: int) -> Plane:
    """Lattice values every `step` pixels, smoothly between (3t^2 - 2t^3 weights of 8 bits)."""
    t = np.arange(step)
    weight = (t * t * (3 * step - 2 * t) * 256) // step**3
    for axis in (0, 1):
        a, b = (np.moveaxis(lattice, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        fine = (a[:, None] * (256 - weight)[:, None] + b[:, None] * weight[:, None]) >> 8
        lattice = np.moveaxis(fine.reshape(-1, fine.shape[2]), 0, axis)
    return lattice


def _noise(bits: Bits) -> Image:
    """Fractal noise between three colours."""
    noise = value_noise(bits, SIDE, bits.one(2, 5), bits.one(4, 6))
    stretched = np.clip((noise - 128) * 2 + 128, 0, 255)
    low, middle, high = _colours(bits, 3)
    t = stretched[:, :, None]
    mixed = np.where(t < 128, low * (128 - t) + middle * t, middle * (256 - t) + high * (t - 128))
    return (mixed >> 7).astype(np.uint8)


def _stripes(bits: Bits) -> Image:
    """One or two systems of warped stripes."""
    y, x = np.mgrid[:SIDE, :SIDE]
    warp = value_noise(bits, SIDE, 3, 2)
    colours = _colours(bits, 3)
    image = np.broadcast_to(colours[2], (SIDE, SIDE, 3)).astype(np.int64)
    for colour in colours[: bits.one(1, 3)]:
        a, b, amplitude = bits.one(-12, 13), bits.one(-12, 13), bits.one(0, 12)
        phase = (a * x + b * y + amplitude * warp) & 511
        wave = np.abs(phase - 256)[:, :, None]
        sharp = np.clip((wave - 128) * bits.one(1, 12) + 128, 0, 256)
        image = (image * (256 - sharp) + colour * sharp) >> 8
    return image.astype(np.uint8)


def _cells(bits: Bits) -> Image:
    """Voronoi cells of a jittered grid, each in its colour, with darker borders."""
    step = 2 ** bits.one(4, 7)
    n = SIDE // step + 2
    jitter = bits.below(step, n, n, 2)
    colours = _colours(bits, n, n)
    y, x = np.mgrid[:SIDE, :SIDE] + step
    best = np.full((SIDE, SIDE), 2**40)
    second = best.copy()
    image = np.zeros((SIDE, SIDE, 3), np.int64)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            row, column = y // step + i, x // step + j
            centre = jitter[row % n, column % n]
            distance = (row * step + centre[..., 0] - y) ** 2 + (column * step + centre[..., 1] - x) ** 2
            nearer = distance < best
            second = np.where(nearer, best, np.minimum(second, distance))
            best = np.where(nearer, distance, best)
            image = np.where(nearer[:, :, None], colours[row % n, column % n], image)
    inner = np.clip((second - best) * 8 // step, 128, 256)[:, :, None]  # 0 on the border between two cells
    return ((image * inner) >> 8).astype(np.uint8)


def _leaves(bits: Bits) -> Image:
    """Dead leaves: discs and squares of all sizes over each other, small ones more often, as in natural images."""
    image = np.broadcast_to(_colours(bits), (SIDE, SIDE, 3)).astype(np.uint8)
    palette = _colours(bits, 12)
    for size in (140, 90, 60, 40, 28, 20, 14, 10, 7, 5):
        count = min(25_000 // size**2 + 4, 250)
        places = bits.below(SIDE, count, 2)
        draws = bits.below(2**16, count, 5)
        for (cy, cx), (shape, radius, colour, *shade) in zip(places, draws, strict=True):
            r = size // 2 + int(radius) % (size // 2 + 1)
            top, left = max(cy - r, 0), max(cx - r, 0)
            window = image[top : cy + r + 1, left : cx + r + 1]
            leaf = np.clip(palette[colour % 12] + np.resize(shade, 3) % 64 - 32, 0, 255)
            if shape % 3:
                y, x = np.ogrid[top - cy : top - cy + window.shape[0], left - cx : left - cx + window.shape[1]]
                window[x * x + y * y <= r * r] = leaf
            else:
                window[...] = leaf
    return image


def _detail(image: Image, bits: Bits) -> Image:
    """Fine noise over the whole texture: no region is flat, so that every motion can be seen."""
    noise = value_noise(bits, SIDE, 6, 3)[:, :, None] - 128
    amplitude = bits.one(20, 70)
    return np.clip(image.astype(np.int64) + ((noise * amplitude) >> 7), 0, 255).astype(np.uint8)
