"""Outlines of the flying shapes: a bank of signed distance fields, which give smooth edges at any size.

As the textures, made of integers (and of correctly rounded square roots), so that a bank is the same bytes everywhere.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tasks.flow.shapes_textures import Bits, value_noise

SIDE = 128  # texels of a field
FINE = 4  # raster pixels a texel
UNIT = 64  # distances are in 1/64 texel
LIMIT = 511  # and clamped to 8 texels: half a pixel of a shape of 8 pixels, the smallest
SMALLEST = 8  # pixels
GRID = SIDE * FINE  # raster pixels a side; coordinates are in half a raster pixel from the middle
REACH = GRID * 96 // 100  # no outline goes beyond this distance from the middle, in the same unit

Raster = NDArray[np.bool_]  # (GRID, GRID), True inside


@cache
def outline_bank(n: int, seed: int = 0) -> NDArray[np.int32]:
    """n signed distance fields (n, 128, 128), positive inside; raises ValueError for n < 1.

    Five kinds in turn: ellipse, star-shaped polygon, blob, ring, and frame of bars (thin parts, as a chair's legs).
    """
    if n < 1:
        raise ValueError(f"the outline bank needs at least one outline, got {n}")
    makers = (_ellipse, _polygon, _blob, _ring, _bars)
    return np.stack([_signed_distance(_in_disc(makers[i % 5](Bits(seed, i + 2**40)))) for i in range(n)])


def _signed_distance(inside: Raster) -> NDArray[np.int32]:
    distance = np.where(inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside))
    half = FINE // 2  # a texel's value is the distance at its centre, the corner of four raster pixels
    rows = distance[half - 1 :: FINE] + distance[half::FINE]
    total = rows[:, half - 1 :: FINE] + rows[:, half::FINE]
    field = np.clip(np.rint(total * (UNIT / 4 / FINE)), -LIMIT, LIMIT).astype(np.int32)
    field[[0, -1]] = field[:, [0, -1]] = -LIMIT  # what the renderer finds beyond the field
    return field


def _grid() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """x (1, GRID) and y (GRID, 1) of the raster's pixel centres."""
    axis = 2 * np.arange(GRID) - (GRID - 1)
    return axis[None, :], axis[:, None]


def _in_disc(inside: Raster) -> Raster:
    x, y = _grid()
    return inside & (x * x + y * y <= REACH * REACH)


def _ellipse_of(major: int, minor: int) -> Raster:
    x, y = _grid()
    return (x * minor) ** 2 + (y * major) ** 2 <= (major * minor) ** 2


def _ellipse(bits: Bits) -> Raster:
    return _ellipse_of(REACH, REACH * bits.one(40, 101) // 100)


def _ring(bits: Bits) -> Raster:
    minor, hole = REACH * bits.one(60, 101) // 100, bits.one(40, 80)
    return _ellipse_of(REACH, minor) & ~_ellipse_of(REACH * hole // 100, minor * hole // 100)


def _polygon(bits: Bits) -> Raster:
    """3 to 10 corners around the middle, at distances of 30 to 100 % of the radius, in the order of their direction."""
    corners = bits.one(3, 11)
    points = []
    for i in range(corners):
        t = (8 * (1000 * i + int(bits.below(700, 1)[0]))) / (1000 * corners)  # perimeter of the square, 8 long
        side, along = int(t // 2), t % 2 - 1
        x, y = ((1.0, along), (-along, 1.0), (-1.0, -along), (along, -1.0))[side]
        reach = REACH * bits.one(30, 101) / 100 / math.sqrt(x * x + y * y)
        points.append((round(x * reach), round(y * reach)))
    return _inside(points)


def _inside(points: list[tuple[int, int]]) -> Raster:
    """Even-odd rule, in integers."""
    x, y = _grid()
    inside = np.zeros((GRID, GRID), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        left = (x - x0) * (y1 - y0) < (x1 - x0) * (y - y0) if y1 > y0 else (x - x0) * (y1 - y0) > (x1 - x0) * (y - y0)
        inside ^= crosses & left
    return inside


def _blob(bits: Bits) -> Raster:
    """Smooth noise above a level that rises towards the rim."""
    x, y = _grid()
    noise = value_noise(bits, GRID, bits.one(1, 4), 2)
    return noise * 2 + 60 > (x * x + y * y) * 600 // REACH**2


def _bars(bits: Bits) -> Raster:
    """A plate with 3 to 6 bars through it."""
    x, y = _grid()
    width, height = GRID * bits.one(20, 60) // 100, GRID * bits.one(10, 35) // 100
    inside = (np.abs(x) < width) & (np.abs(y) < height)
    for _ in range(bits.one(3, 7)):
        a, b = bits.one(-8, 9), bits.one(-8, 9) or 1
        offset, half = GRID * bits.one(-40, 41) // 100, GRID * bits.one(2, 7) // 100
        across = a * x + b * y - offset * abs(b)
        inside |= across * across < half * half * (a * a + b * b)
    return inside
