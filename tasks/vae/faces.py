"""Generated face-like pictures, the embedded stand-in for CelebA: any machine has them, nothing is downloaded.

A head, hair, eyes, brows, nose and mouth as soft-edged ellipses before a shaded background. Pose, proportions and
colours vary continuously, with factors that a latent of some dozen entries can hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

SKIN = np.array([[0.96, 0.80, 0.69], [0.80, 0.58, 0.42], [0.45, 0.30, 0.22]], np.float32)
HAIR = np.array([[0.10, 0.08, 0.07], [0.40, 0.25, 0.13], [0.85, 0.70, 0.40], [0.60, 0.60, 0.60]], np.float32)


def faces(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """So many pictures of shape (count, 3, size, size). The i-th is a function of seed and i, whatever the count."""
    chunk = 256
    parts = [_draw(size, chunk, seed, start // chunk) for start in range(0, count, chunk)]
    return np.concatenate(parts)[:count]


def _draw(size: int, count: int, seed: int, number: int) -> NDArray[np.uint8]:
    random = np.random.Generator(np.random.PCG64([seed, number]))

    def draw(low: float, high: float, *shape: int) -> Array:
        return random.uniform(low, high, (count, *shape)).astype(np.float32)

    centres = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(centres, centres, indexing="ij")
    edge = 1.5 / size  # half-width of the soft edges

    tilt, turn = draw(-0.2, 0.2)[:, None, None], draw(-0.12, 0.12)[:, None, None]
    left, top = draw(-0.1, 0.1)[:, None, None], draw(-0.05, 0.1)[:, None, None]
    u = np.cos(tilt) * (x - left) + np.sin(tilt) * (y - top)  # coordinates of the head
    v = np.cos(tilt) * (y - top) - np.sin(tilt) * (x - left)

    def ellipse(cx: Array | float, cy: Array | float, rx: Array | float, ry: Array | float) -> Array:
        radius = np.sqrt(((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2)
        blur = edge / np.minimum(rx, ry)
        cover: Array = np.clip((1 - radius) / (2 * blur) + 0.5, 0, 1).astype(np.float32)
        return cover

    def size_of(low: float, high: float) -> Array:
        return draw(low, high)[:, None, None]

    wide, tall = size_of(0.46, 0.6), size_of(0.62, 0.76)
    skin = _mixed(random, SKIN, count) + draw(-0.04, 0.04, 3)
    hair = _mixed(random, HAIR, count) + draw(-0.04, 0.04, 3)
    image: Array = draw(0.1, 0.95, 3)[:, :, None, None] + draw(-0.2, 0.2, 3)[:, :, None, None] * y
    image = _paint(image, hair, ellipse(0.0, -0.12, wide + size_of(0.05, 0.2), tall + size_of(0.05, 0.2)))
    image = _paint(image, hair, ellipse(0.0, 0.35, wide + 0.1, size_of(0.3, 0.75)) * (size_of(0, 1) > 0.5))
    light = 1 + size_of(-0.25, 0.25) * u  # from one side
    head = ellipse(0.0, 0.1, wide, tall)
    image = image + head[:, None] * (skin[:, :, None, None] * light[:, None] - image)
    image = _paint(image, hair, ellipse(0.0, -0.75 + size_of(-0.05, 0.1), wide, size_of(0.2, 0.4)) * head)

    apart, eye = size_of(0.19, 0.26), size_of(0.07, 0.1)
    height, iris = size_of(-0.08, 0.0), draw(0.1, 0.5, 3)
    brow, open_ = size_of(0.13, 0.2), size_of(0.55, 0.9)
    white, dark = np.full((count, 3), 0.95, np.float32), np.full((count, 3), 0.06, np.float32)
    for side in (-1, 1):
        centre = side * apart + turn
        image = _paint(image, white, ellipse(centre, height, 1.35 * eye, open_ * eye))
        image = _paint(image, iris, ellipse(centre + 0.2 * turn, height, 0.7 * open_ * eye, 0.7 * open_ * eye))
        image = _paint(image, dark, ellipse(centre + 0.2 * turn, height, 0.3 * open_ * eye, 0.3 * open_ * eye))
        image = _paint(image, 0.7 * hair, ellipse(centre, height - brow, 1.5 * eye, 0.035))
    image = _paint(image, 0.8 * skin, ellipse(1.4 * turn, 0.22, size_of(0.05, 0.08), size_of(0.1, 0.15)))
    lips = np.stack([draw(0.6, 0.85), draw(0.2, 0.4), draw(0.25, 0.4)], axis=1)
    mouth, smile = size_of(0.16, 0.27), size_of(-0.25, 0.35)
    bent = v + smile * (np.abs(u - turn) / mouth).clip(0, 1) ** 2 * 0.15
    radius = np.sqrt(((u - turn) / mouth) ** 2 + ((bent - 0.48) / size_of(0.04, 0.09)) ** 2)
    image = _paint(image, lips, np.clip((1 - radius) * 1.5 + 0.5, 0, 1) * (radius < 1.4))
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def _paint(image: Array, colour: Array, cover: Array) -> Array:
    painted: Array = image + cover[:, None] * (colour[:, :, None, None] - image)
    return painted


def _mixed(random: np.random.Generator, palette: Array, count: int) -> Array:
    """Convex mixtures of the palette's colours, (count, 3), most of them near one of it."""
    weights = random.dirichlet(np.full(len(palette), 0.5), count).astype(np.float32)
    mixture: Array = weights @ palette
    return mixture
