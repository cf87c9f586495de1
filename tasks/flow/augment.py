"""FlowNet's augmentation of pairs, consistent with the flow (Dosovitskiy et al. 2015, section 4.3).

Both frames are turned, zoomed, shifted, mirrored and cropped alike, frame 2 slightly more; then colours change and
noise is added. The numbers drawn for a sample depend on its seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 50  # draws of a geometry that keeps the crop inside both frames, before the plain middle is taken
BOUNDARY = 1.0  # pixels: flow that interpolation changes by more is next to a motion boundary

Batch = dict[str, Any]


@dataclass(frozen=True)
class Augmentation:
    """Call it with a batch and a seed a sample; the defaults are FlowNet's, the relative ones FlowNetPytorch's.

    crop: (height, width) of the result in pixels; null: as the frames.
    translate: largest shift, as a part of the width. rotate: largest angle in degrees. zoom: smallest and largest.
    relative_translate: largest shift of frame 2 against frame 1, pixels of the result. relative_rotate: degrees.
    flip_horizontal, flip_vertical: probabilities.
    noise: largest standard deviation. contrast: range of the relative change. colour: range of the factor of a channel.
    gamma: range of the exponent. brightness: standard deviation of the shift. (Of frames in [0, 1].)
    """

    crop: tuple[int, int] | None = None
    translate: float = 0.2
    rotate: float = 17.0
    zoom: tuple[float, float] = (0.9, 2.0)
    relative_translate: float = 10.0
    relative_rotate: float = 2.5
    flip_horizontal: float = 0.5
    flip_vertical: float = 0.5
    noise: float = 0.04
    contrast: tuple[float, float] = (-0.8, 0.4)
    colour: tuple[float, float] = (0.5, 2.0)
    gamma: tuple[float, float] = (0.7, 1.5)
    brightness: float = 0.2

    def __call__(self, batch: Batch, seeds: Sequence[int]) -> Batch:
        """frame1, frame2, flow and valid of the crop's size; other entries of the batch are left out.

        Raises ValueError for a crop larger than the frames.
        """
        height, width = batch["flow"].shape[2:]
        crop = self.crop or (height, width)
        if crop[0] > height or crop[1] > width:
            raise ValueError(f"augment.crop={tuple(crop)} is larger than the frames of {height}x{width} pixels")
        random = [np.random.default_rng(seed) for seed in seeds]
        maps = torch.from_numpy(np.stack([self._geometry(r, (height, width), crop) for r in random]))
        batch = _move(batch, maps.to(batch["flow"]), crop)
        frames = torch.stack([batch["frame1"], batch["frame2"]], dim=1)
        for i, r in enumerate(random):
            frames[i] = self._recolour(frames[i], r)
        return {**batch, "frame1": frames[:, 0], "frame2": frames[:, 1]}

    def _geometry(self, random: np.random.Generator, size: tuple[int, int], crop: tuple[int, int]) -> np.ndarray:
        """(2, 2, 3): for each frame the affine map from the crop's pixels to the frame's, both about their middles."""
        mirror = np.array([1 - 2 * (random.random() < p) for p in (self.flip_horizontal, self.flip_vertical)])
        for _ in range(TRIES):
            zoom, turn = random.uniform(*self.zoom), random.uniform(-self.rotate, self.rotate)
            shift = random.uniform(-self.translate, self.translate, 2) * size[1]
            turn2 = turn + random.uniform(-self.relative_rotate, self.relative_rotate)
            shift2 = shift + random.uniform(-self.relative_translate, self.relative_translate, 2) / zoom
            maps = np.stack([_affine(turn, zoom, mirror, shift), _affine(turn2, zoom, mirror, shift2)])
            corners = np.array([[x, y, 1] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * [crop[1] - 1, crop[0] - 1, 1]
            reach = np.abs(maps @ corners.T).max(axis=(0, 2))  # the farthest x and y from the frame's middle
            if reach[0] <= (size[1] - 1) / 2 and reach[1] <= (size[0] - 1) / 2:
                return maps
        return np.stack([_affine(0.0, 1.0, mirror, np.zeros(2))] * 2)

    def _recolour(self, frames: Tensor, random: np.random.Generator) -> Tensor:
        """Both frames (2, 3, H, W) with the same change of colours, and each with its own noise."""
        colour = torch.from_numpy(random.uniform(*self.colour, 3)).to(frames)[:, None, None]
        gamma, contrast = random.uniform(*self.gamma), random.uniform(*self.contrast)
        shift, deviation = random.normal(0, self.brightness), random.uniform(0, self.noise)
        frames = (frames * colour).clamp(0, 1) ** gamma
        frames = (frames - 0.5) * (1 + contrast) + 0.5 + shift
        if deviation > 0:
            generator = torch.Generator(frames.device).manual_seed(int(random.integers(2**62)))
            noise = torch.randn(frames.shape, generator=generator, device=frames.device)
            frames = frames.clamp(0, 1) + deviation * noise
        return frames.clamp(0, 1)


def _affine(degrees: float, zoom: float, mirror: np.ndarray, shift: np.ndarray) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)) / zoom, math.sin(math.radians(degrees)) / zoom
    return np.concatenate([np.array([[c, -s], [s, c]]) * mirror, shift[:, None]], axis=1)


def _move(batch: Batch, maps: Tensor, crop: tuple[int, int]) -> Batch:
    """Sample both frames and the flow where `maps` (B, 2, 2, 3) say.

    Crop pixel p shows frame-1 pixel q = A1 p + t1, whose partner q + flow(q) is crop pixel A2^-1 (q + flow(q) - t2) of
    frame 2: that minus p is the new flow.
    """
    height, width = batch["flow"].shape[2:]
    half = maps.new_tensor([width - 1, height - 1]) / 2
    y = torch.arange(crop[0], device=maps.device, dtype=maps.dtype) - (crop[0] - 1) / 2
    x = torch.arange(crop[1], device=maps.device, dtype=maps.dtype) - (crop[1] - 1) / 2
    p = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (h, w, 2)
    linear, shift = maps[..., :2], maps[..., 2]
    places = torch.einsum("bfij,hwj->bfhwi", linear, p) + shift[:, :, None, None]
    grids = places / half  # in [-1, 1], the corners being the corner pixels' centres

    def sample(image: Tensor, frame: int, mode: str = "bilinear") -> Tensor:
        return F.grid_sample(image, grids[:, frame], mode, padding_mode="border", align_corners=True)

    between, nearest = sample(batch["flow"], 0), sample(batch["flow"], 0, "nearest")
    # between two motions there is no third: the flow there is one of the two
    flow = torch.where((between - nearest).abs().amax(1, keepdim=True) > BOUNDARY, nearest, between)
    target = places[:, 0] + flow.permute(0, 2, 3, 1) - shift[:, 1, None, None]
    moved = torch.einsum("bij,bhwj->bhwi", torch.linalg.inv(linear[:, 1]), target) - p
    valid = sample(batch["valid"].to(flow.dtype), 0) > 0.999  # only if all four neighbours are
    return {
        "frame1": sample(batch["frame1"], 0),
        "frame2": sample(batch["frame2"], 1),
        "flow": torch.where(valid, moved.permute(0, 3, 1, 2), 0.0),
        "valid": valid,
    }
