"""tasks.flow.augment: the flow stays exact, and a sample's numbers come from its seed alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tasks.flow.augment import Augmentation
from tasks.flow.shapes import FlyingShapes
from tasks.flow.shapes_motion import Motions

PLAIN = {"noise": 0.0, "contrast": (0.0, 0.0), "colour": (1.0, 1.0), "gamma": (1.0, 1.0), "brightness": 0.0}
STILL = {
    "translate": 0.0, "rotate": 0.0, "zoom": (1.0, 1.0), "relative_translate": 0.0, "relative_rotate": 0.0,
    "flip_horizontal": 0.0, "flip_vertical": 0.0,
}  # fmt: skip
SEEDS = [11, 12, 13, 14]


def shapes(objects: tuple[int, int] = (2, 6), **motions: float) -> FlyingShapes:
    return FlyingShapes(0, 128, 160, objects, Motions(**motions), procedural=4, natural=False, outlines=5)


def smooth_pairs() -> dict[str, torch.Tensor]:
    """Two smooth frames under one affine motion, q -> q + flow(q), known in closed form."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(160.0), indexing="ij")

    def scene(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.5 + torch.stack([(x / 9).sin() * (y / 7).cos(), (x / 11 + y / 13).sin(), (y / 8).sin()]) * 0.4

    a, b, u, v = 1.02, 0.03, 3.0, -2.0
    flow = torch.stack([(a - 1) * x - b * y + u, b * x + (a - 1) * y + v])
    back = a * a + b * b
    x1, y1 = (a * (x - u) + b * (y - v)) / back, (a * (y - v) - b * (x - u)) / back
    one = {"frame1": scene(x, y), "frame2": scene(x1, y1), "flow": flow, "valid": torch.ones(1, 128, 160) > 0}
    return {name: tensor.expand(4, *tensor.shape).clone() for name, tensor in one.items()}


def warp_error(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """|frame 2 at x + flow - frame 1| of the pixels that stay in the frame."""
    height, width = batch["flow"].shape[2:]
    x = torch.arange(width) + batch["flow"][:, 0]
    y = torch.arange(height)[:, None] + batch["flow"][:, 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1) & batch["valid"][:, 0]
    grid = torch.stack([x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1], dim=-1)
    return (F.grid_sample(batch["frame2"], grid, align_corners=True) - batch["frame1"]).abs().amax(1)[inside]


def test_flow_stays_exact_under_every_geometry() -> None:
    batch = smooth_pairs()
    assert warp_error(batch).max() < 0.02
    augmented = Augmentation(crop=(64, 96), zoom=(0.95, 1.6), **PLAIN)(batch, SEEDS)
    assert augmented["frame1"].shape == (4, 3, 64, 96) and augmented["valid"].all()
    assert warp_error(augmented).max() < 0.02  # interpolation only
    assert all(not torch.allclose(augmented["flow"][0], augmented["flow"][i], atol=1.0) for i in (1, 2, 3))
    shifted = {**augmented, "flow": augmented["flow"] + 0.5}
    assert warp_error(shifted).mean() > 4 * warp_error(augmented).mean()  # the measure sees half a pixel


def test_flow_of_shapes_stays_that_of_one_layer() -> None:
    """Without relative motion and zoom, the flow's length is kept, also along motion boundaries."""
    batch = shapes(background_still=1.0, object_still=1.0, object_spread=4.0).batch([0, 1, 2, 3])
    options = {**PLAIN, "zoom": (1.0, 1.0), "relative_translate": 0.0, "relative_rotate": 0.0}
    augmented = Augmentation(crop=(64, 80), **options)(batch, SEEDS)
    for before, after in zip(batch["flow"], augmented["flow"], strict=True):
        lengths = before.square().sum(0).sqrt().unique()
        found = after.square().sum(0).sqrt().flatten()
        distance = (found[:, None] - lengths).abs().amin(1)
        assert (distance < 1e-3).float().mean() > 0.97 and distance.max() <= 1.0


def test_flips_mirror_the_flow() -> None:
    batch = shapes().batch([0])
    for axis, name in ((3, "flip_horizontal"), (2, "flip_vertical")):
        flipped = Augmentation(**{**PLAIN, **STILL, name: 1.0})(batch, [0])
        sign = torch.tensor([-1.0, 1.0] if axis == 3 else [1.0, -1.0])[:, None, None]
        assert torch.allclose(flipped["frame1"], batch["frame1"].flip(axis), atol=1e-4)
        assert torch.allclose(flipped["flow"], batch["flow"].flip(axis) * sign, atol=1e-3)


def test_nothing_changes_nothing() -> None:
    batch = shapes().batch([0, 1])
    same = Augmentation(**PLAIN, **STILL)(batch, [0, 1])
    for name in ("frame1", "frame2", "flow"):
        assert torch.allclose(same[name], batch[name], atol=1e-3), name


def test_unknown_flow_stays_unknown() -> None:
    batch = smooth_pairs()
    batch["valid"][:, :, 50:70, 60:90] = False
    batch["flow"][:, :, 50:70, 60:90] = 0
    augmented = Augmentation(crop=(64, 96), zoom=(0.95, 1.6), **PLAIN)(batch, SEEDS)
    assert 0.01 < (~augmented["valid"]).float().mean() < 0.5
    assert (augmented["flow"].abs().amax(1, keepdim=True)[~augmented["valid"]] == 0).all()
    assert warp_error(augmented).max() < 0.02


def test_colours_change_alike_in_both_frames_but_noise_does_not() -> None:
    batch = smooth_pairs()
    batch["frame2"] = batch["frame1"].clone()
    recoloured = Augmentation(**STILL, noise=0.0)(batch, SEEDS)
    assert torch.equal(recoloured["frame1"], recoloured["frame2"])
    assert (recoloured["frame1"] - batch["frame1"]).abs().mean() > 0.03
    assert torch.allclose(recoloured["flow"], batch["flow"], atol=1e-3)
    noisy = Augmentation(**STILL)(batch, SEEDS)
    assert 0.001 < (noisy["frame1"] - noisy["frame2"]).std() < 0.06
    assert 0 <= noisy["frame1"].min() and noisy["frame1"].max() <= 1


def test_a_sample_depends_on_its_seed_alone() -> None:
    batch = shapes().batch([0, 1, 2])
    augment = Augmentation(crop=(64, 96))
    together = augment(batch, [5, 6, 7])
    torch.manual_seed(3)
    alone = augment({name: tensor[1:2] for name, tensor in batch.items()}, [6])
    for name in together:
        assert torch.allclose(together[name][1].float(), alone[name][0].float(), atol=1e-6), name


def test_crop_larger_than_the_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augment.crop=\(200, 96\).*128x160"):
        Augmentation(crop=(200, 96))(smooth_pairs(), SEEDS)


def test_impossible_geometry_takes_the_middle() -> None:
    batch = smooth_pairs()
    augmented = Augmentation(zoom=(0.5, 0.6), flip_horizontal=0.0, flip_vertical=0.0, **PLAIN)(batch, SEEDS)
    assert torch.allclose(augmented["flow"], batch["flow"], atol=1e-3)
