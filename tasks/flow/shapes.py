"""Flying shapes: generated pairs of frames with exact flow, in the manner of FlyingChairs (Dosovitskiy et al. 2015).

A textured background and 2-20 textured shapes over it, each under a similarity motion, the shapes' composed with the
background's. Sample i of seed s is a function of (s, i) and the settings alone, the same bits on every machine and
device: SHAPES.md says how, what is guaranteed, and how it compares with FlyingChairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tasks.flow.io import write_flo
from tasks.flow.shapes_masks import outline_bank
from tasks.flow.shapes_motion import Motions, Scenes, sample_scenes
from tasks.flow.shapes_render import Pairs, pack, render
from tasks.flow.shapes_textures import PHOTOGRAPHS, texture_bank

LARGEST_SIDE = 1024  # pixels: the renderer computes in 32 bits
Batch = dict[str, Any]


class FlyingShapes:
    """Pairs by index.

    Args:
        seed: of the set, below 2^64; sets of different seeds are unrelated.
        height, width: of the frames in pixels (FlyingChairs: 384 x 512); shapes grow with them, displacements do not:
            see Motions.scale.
        objects: fewest and most shapes in a pair.
        motions: the distributions of the motions.
        procedural: generated textures in the bank.
        natural: add scikit-image's photographs, for half of the layers.
        outlines: shapes in the bank.

    Raises:
        ValueError: an impossible size or number; ImportError: natural textures without scikit-image (on first use).
    """

    def __init__(
        self,
        seed: int,
        height: int = 384,
        width: int = 512,
        objects: tuple[int, int] = (2, 20),
        motions: Motions | None = None,
        procedural: int = 32,
        natural: bool = True,
        outlines: int = 40,
    ) -> None:
        if seed < 0 or seed >= 2**64:
            raise ValueError(f"flying shapes: seed must be in [0, 2^64), got {seed}")
        if not (16 <= height <= LARGEST_SIDE and 16 <= width <= LARGEST_SIDE):
            raise ValueError(f"flying shapes: sides must be 16 to {LARGEST_SIDE} pixels, got {height}x{width}")
        if not 0 <= objects[0] <= objects[1]:
            raise ValueError(f"flying shapes: objects must be (fewest, most), got {tuple(objects)}")
        self.seed, self.height, self.width = seed, height, width
        self.objects = (int(objects[0]), int(objects[1]))
        self.motions = motions or Motions()
        self.procedural, self.natural, self.outlines = procedural, natural, outlines

    def scenes(self, indices: Sequence[int]) -> Scenes:
        """The pairs in numbers: poses, motions, textures."""
        n_textures = self.procedural + (len(PHOTOGRAPHS) if self.natural else 0)
        return sample_scenes(
            self.seed, indices, self.height, self.width, self.objects, self.motions,
            self.procedural, n_textures, self.outlines,
        )  # fmt: skip

    def pairs(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Pairs:
        """The pairs of these indices, drawn on `device`, with layers and occlusions."""
        textures, outlines = _banks(self.procedural, self.natural, self.outlines, torch.device(device))
        return render(self.scenes(indices), textures, outlines, self.height, self.width)

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """frame1, frame2 (B, 3, H, W) float32 in [0, 1]; flow (B, 2, H, W) float32 pixels; valid (B, 1, H, W) True.

        On a CPU the pairs are drawn one by one, because a pair of its own has smaller windows to draw.
        """
        groups = [[i] for i in indices] if torch.device(device).type == "cpu" else [indices]
        drawn = [self.pairs(group, device) for group in groups]
        frame1, frame2, flow = (
            torch.cat([getattr(pairs, name) for pairs in drawn]) for name in ("frame1", "frame2", "flow")
        )
        valid = torch.ones_like(flow[:, :1], dtype=torch.bool)
        return {"frame1": frame1.float() / 255, "frame2": frame2.float() / 255, "flow": flow, "valid": valid}


@cache
def _banks(procedural: int, natural: bool, outlines: int, device: torch.device) -> tuple[Tensor, Tensor]:
    textures = pack(torch.from_numpy(texture_bank(procedural, natural)))
    return textures.to(device), torch.from_numpy(outline_bank(outlines)).to(device)


def write_chairs(shapes: FlyingShapes, folder: Path, first: int, last: int, validation_every: int = 36) -> None:
    """Write pairs first...last - 1 in FlyingChairs' layout: data/00001_img1.ppm, _img2.ppm, _flow.flo; split file.

    Occlusion masks go to occlusions/00001.png (255: occluded). Every `validation_every`-th pair is marked for
    validation (22,872 pairs: 635; FlyingChairs: 640). Files already there are written anew with the same bytes.
    """
    for name in ("data", "occlusions"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(first, last):
        pairs = shapes.pairs([index])
        stem = f"{index + 1:05d}"
        for name, frame in (("img1", pairs.frame1), ("img2", pairs.frame2)):
            Image.fromarray(_pixels(frame[0])).save(folder / "data" / f"{stem}_{name}.ppm")
        write_flo(folder / "data" / f"{stem}_flow.flo", pairs.flow[0])
        Image.fromarray(_pixels(pairs.occluded[0] * 255)[:, :, 0]).save(folder / "occlusions" / f"{stem}.png")
    marks = ["2" if (i + 1) % validation_every == 0 else "1" for i in range(last)]
    (folder / "FlyingChairs_train_val.txt").write_text("\n".join(marks) + "\n")


def _pixels(image: Tensor) -> np.ndarray:
    return image.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
