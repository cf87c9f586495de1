"""What happens in a pair of flying shapes: layers, their poses, and similarity motions with FlyingChairs' statistics.

A motion is S(x) = c + A (x - c) + d with A = [[a, -b], [b, a]]; a, b and d are integers of 2^-16, c is a pixel.
Everything comes from raw Philox integers keyed by (seed, index) and the four basic operations of float64, which are
correctly rounded everywhere, and is then rounded to such integers: the same numbers on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.flow import shapes_masks, shapes_textures

FRACTION = 16  # bits after the binary point of coefficients and displacements
ONE = 1 << FRACTION
DRAWS = 32  # random numbers a layer
PI = 3.141592653589793

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Motions:
    """Distributions of the motions, in pixels, degrees and ratios; heavy tails are spread * z^4, z nearly normal.

    The defaults are FlyingChairs' as measured on 12 of its pairs: background mostly 1-5 px, above 20 px in one pair of
    six; no rotation and no zoom of the background in two of three; objects up to 73 px, -20 to 15 degrees, 0.88-1.13.
    """

    scale: float = 1.0  # of all displacements: 0.5 for frames of half the size
    background_spread: float = 1.9
    background_limit: float = 40.0
    background_still: float = 0.67  # probability of no rotation, and of no zoom
    background_rotation: float = 0.25
    background_zoom: float = 0.006
    object_spread: float = 2.5
    object_limit: float = 90.0
    object_still: float = 0.3
    object_rotation: float = 7.0
    object_zoom: float = 0.05


@dataclass(frozen=True)
class Scenes:
    """A batch of pairs in numbers; arrays (B, L, ...) over layers, the background first, then back to front.

    centre: (x, y) in pixels. motion: a, b, dx, dy in 2^-16. texture, outline: numbers in the banks. tint: weight of the
    colour (0...64), then R, G, B. size: side of the outline's square in both frames, in pixels; 0: no shape.
    middle: the centre's pixel in both frames. texture_map, outline_map: for both frames m, n, tu, tv in 2^-16, which
    take a pixel at (x, y) from the middle to the texel (m x - n y + tu, n x + m y + tv).
    """

    centre: Ints
    motion: Ints
    texture: Ints
    outline: Ints
    tint: Ints
    size: Ints
    middle: Ints
    texture_map: Ints
    outline_map: Ints


def sample_scenes(
    seed: int,
    indices: Sequence[int],
    height: int,
    width: int,
    objects: tuple[int, int],
    motions: Motions,
    n_procedural: int,
    n_textures: int,
    n_outlines: int,
) -> Scenes:
    """The scenes of these indices, each a function of (seed, index) and the other arguments alone."""
    layers = objects[1] + 1
    raw = np.stack([_raw(seed, index, layers) for index in indices])
    u = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53  # uniform in [0, 1), exact
    ground = np.arange(layers) == 0
    scale = min(height / 384, width / 512)

    count = objects[0] + _floor(u[:, 0, 31] * (objects[1] - objects[0] + 1))
    present = (np.arange(layers)[None] <= count[:, None]) & ~ground
    side = np.maximum(np.rint(scale * (40 + 260 * u[..., 0] * u[..., 0])), shapes_masks.SMALLEST) * present

    x, y = _floor(u[..., 1] * width), _floor(u[..., 2] * height)
    centre = np.stack([np.where(ground, width // 2, x), np.where(ground, height // 2, y)], axis=-1)
    own = _own_motion(u, _normal(raw[..., 25:29]), ground, motions)
    motion = _compose(own, centre)

    natural = (u[..., 13] < 0.5) & (n_textures > n_procedural) | (n_procedural == 0)
    photograph = n_procedural + _floor(u[..., 14] * (n_textures - n_procedural))
    texture = np.where(natural, photograph, _floor(u[..., 14] * n_procedural))
    weight = _floor(u[..., 15] * np.where(natural, 20, 36))
    tint = np.stack([weight, *(_floor(u[..., i] * 256) for i in (16, 17, 18))], axis=-1)

    # texels a pixel: at most 0.85, so that no zoom makes a texture alias
    detail = 0.35 + 0.5 * u[..., 19]
    texture_map, middle = _maps(detail, 2 * u[..., 20] - 1, motion, centre, u[..., 21:23] * shapes_textures.SIDE)
    fields = shapes_masks.SIDE / np.maximum(side, 1)
    outline_map, _ = _maps(
        fields, 2 * u[..., 23] - 1, motion, centre, np.full((*side.shape, 2), shapes_masks.SIDE / 2 - 0.5)
    )
    zoom = _sqrt(motion[..., 0] ** 2 + motion[..., 1] ** 2) / ONE
    return Scenes(
        centre=centre,
        motion=motion,
        texture=texture,
        outline=_floor(u[..., 24] * n_outlines),
        tint=tint,
        size=_int(np.stack([side, side * zoom], axis=-1)),
        middle=middle,
        texture_map=texture_map,
        outline_map=outline_map,
    )


def _raw(seed: int, index: int, layers: int) -> NDArray[np.uint64]:
    philox = np.random.Philox(key=np.array([seed, index], dtype=np.uint64))
    return philox.random_raw(layers * DRAWS).reshape(layers, DRAWS)


def _own_motion(u: Floats, z: Floats, ground: NDArray[np.bool_], motions: Motions) -> Floats:
    """a, b, dx, dy of each layer's own motion: (B, L, 4), not yet rounded."""
    m = motions

    def choose(background: float, objects: float) -> Floats:
        return np.where(ground, background, objects)

    still = choose(m.background_still, m.object_still)
    degrees = np.where(u[..., 3] < still, 0.0, choose(m.background_rotation, m.object_rotation) * z[..., 0])
    ratio = 1 + np.where(u[..., 4] < still, 0.0, choose(m.background_zoom, m.object_zoom) * z[..., 1])
    t = degrees * (PI / 360)  # tan of half the angle, nearly: a rotation without a sine
    norm = ratio / (1 + t * t)
    spread, limit = choose(m.background_spread, m.object_spread), choose(m.background_limit, m.object_limit)
    shift = []
    for w in (z[..., 2], z[..., 3]):
        far = np.minimum(spread * (w * w) * (w * w), limit)
        shift.append(np.where(w < 0, -far, far) * m.scale)
    return np.stack([norm * (1 - t * t), norm * (2 * t), *shift], axis=-1)


def _normal(raw: NDArray[np.uint64]) -> Floats:
    """Nearly normal numbers: the sum of the four 16-bit parts of each raw number, scaled to variance 1."""
    total = sum((raw >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return (np.asarray(total).astype(np.float64) - 131_070.0) / 37_837.0


def _compose(own: Floats, centre: Ints) -> Ints:
    """Each object's own motion, then the background's: a, b, dx, dy about each layer's centre, in 2^-16."""
    a, b, dx, dy = np.moveaxis(own, -1, 0)
    ground = _int(own[:, :1] * ONE) / ONE  # the background's motion as it will be drawn
    ga, gb, gx, gy = np.moveaxis(ground, -1, 0)
    px, py = np.moveaxis(centre - centre[:, :1], -1, 0)  # from the background's centre
    qx, qy = px + dx, py + dy
    both = [ga * a - gb * b, gb * a + ga * b, ga * qx - gb * qy + gx - px, gb * qx + ga * qy + gy - py]
    both = [np.concatenate([first, rest[:, 1:]], axis=1) for first, rest in zip((ga, gb, gx, gy), both, strict=True)]
    return _int(np.stack(both, axis=-1) * ONE)


def _maps(scale: Floats, t: Floats, motion: Ints, centre: Ints, origin: Floats) -> tuple[Ints, Ints]:
    """Maps from pixels of both frames to texels (B, L, 2, 4), and the layer's middle pixel in both frames (B, L, 2, 2).

    In frame 1 the pose alone (`scale` texels a pixel, rotated by the angle whose half has tangent t); in frame 2 the
    pose after the inverse of the motion.
    """
    norm = scale / (1 + t * t)
    m, n = norm * (1 - t * t), norm * (2 * t)
    a, b, dx, dy = np.moveaxis(motion / ONE, -1, 0)
    square = a * a + b * b
    m2, n2 = (m * a + n * b) / square, (n * a - m * b) / square
    step = np.stack([np.rint(dx), np.rint(dy)], axis=-1)
    rx, ry = step[..., 0] - dx, step[..., 1] - dy  # from where the motion takes the centre to the nearest pixel
    first = np.stack([m, n, origin[..., 0], origin[..., 1]], axis=-1)
    shifted = (origin[..., 0] + (m2 * rx - n2 * ry), origin[..., 1] + (n2 * rx + m2 * ry))
    second = np.stack([m2, n2, *shifted], axis=-1)
    return _int(np.stack([first, second], axis=2) * ONE), np.stack([centre, centre + _int(step)], axis=2)


def _sqrt(x: Ints) -> Floats:
    return np.sqrt(x.astype(np.float64))  # correctly rounded (IEEE 754)


def _floor(x: Floats) -> Ints:
    return np.floor(x).astype(np.int64)


def _int(x: Floats) -> Ints:
    return np.rint(x).astype(np.int64)
