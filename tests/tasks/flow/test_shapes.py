"""tasks.flow.shapes*: exact flow, what depends on what, statistics and the layout on disk."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tasks.flow.io import read_flow, read_image
from tasks.flow.shapes import FlyingShapes, write_chairs
from tasks.flow.shapes_masks import outline_bank
from tasks.flow.shapes_motion import ONE, Motions
from tasks.flow.shapes_render import Pairs, pack, unpack
from tasks.flow.shapes_textures import texture_bank

SMALL = {"height": 96, "width": 128, "procedural": 4, "natural": False, "outlines": 5}
CHAIRS = 9  # real pairs


def small(seed: int = 0, **options: object) -> FlyingShapes:
    return FlyingShapes(seed, **{**SMALL, **options})  # type: ignore[arg-type]


def warp_back(pairs: Pairs) -> torch.Tensor:
    """Frame 2 at x + flow(x), bilinear: what frame 1 should show."""
    frame, flow = pairs.frame2.float(), pairs.flow
    height, width = frame.shape[2:]
    x = torch.arange(width) + flow[:, 0]
    y = torch.arange(height)[:, None] + flow[:, 1]
    grid = torch.stack([x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1], dim=-1)
    return F.grid_sample(frame, grid, align_corners=True)


def away_from_edges(pairs: Pairs) -> torch.Tensor:
    """Pixels of frame 1 that are not occluded and have no other layer within 4 pixels, here or where they go."""
    mixed = F.max_pool2d(pairs.layer.float(), 9, 1, 4) != -F.max_pool2d(-pairs.layer.float(), 9, 1, 4)
    near = F.max_pool2d((mixed | pairs.occluded).float(), 9, 1, 4) > 0
    return ~near[:, 0]


def test_warping_frame_2_back_gives_frame_1() -> None:
    shapes = small(height=192, width=256)
    errors, still = [], []
    for index in range(12):
        pairs = shapes.pairs([index])
        where = away_from_edges(pairs)
        frame1 = pairs.frame1.float()
        errors.append((warp_back(pairs) - frame1).abs().mean(1)[where])
        still.append((pairs.frame2.float() - frame1).abs().mean(1)[where])
    error, without = torch.cat(errors), torch.cat(still)
    assert len(error) > 200_000
    # of 255 gray levels: two bilinear interpolations of the texture lie between the frames
    assert error.mean() < 2.5 < 12 < without.mean()
    assert error.quantile(0.99) < 15


def test_no_motion_gives_the_same_frame_twice() -> None:
    still = Motions(scale=0.0, background_still=1.0, object_still=1.0)
    pairs = small(motions=still).pairs([0, 1])
    assert torch.equal(pairs.frame1, pairs.frame2)
    assert not pairs.flow.any() and not pairs.occluded.any()
    assert pairs.layer.max() > 0


def test_flow_is_the_similarity_of_the_top_layer() -> None:
    shapes = small(seed=3)
    pairs, scenes = shapes.pairs([5]), shapes.scenes([5])
    y, x = np.mgrid[: shapes.height, : shapes.width]
    for layer in pairs.layer.unique().tolist():
        a, b, dx, dy = scenes.motion[0, layer] / ONE
        cx, cy = scenes.centre[0, layer]
        u = (a - 1) * (x - cx) - b * (y - cy) + dx
        v = b * (x - cx) + (a - 1) * (y - cy) + dy
        where = pairs.layer[0, 0].numpy() == layer
        np.testing.assert_allclose(pairs.flow[0].numpy()[:, where], np.stack([u, v])[:, where], atol=1e-5)
    assert len(pairs.layer.unique()) > 2


def test_shapes_move_with_the_background() -> None:
    """Without motions of their own, all layers have the background's flow field."""
    alone = Motions(object_spread=0.0, object_rotation=0.0, object_zoom=0.0, background_still=0.0)
    shapes = small(motions=alone)
    for index in range(4):
        flow = shapes.pairs([index]).flow
        background = replace(shapes.scenes([index]))
        a, b, dx, dy = background.motion[0, 0] / ONE
        x, y = torch.arange(128) - 64.0, torch.arange(96)[:, None] - 48.0
        expected = torch.stack([(a - 1) * x - b * y + dx, b * x + (a - 1) * y + dy])
        assert torch.allclose(flow[0], expected.float(), atol=2e-3)


def test_occlusion_is_what_frame_2_hides() -> None:
    pairs = small(height=192, width=256, motions=Motions(object_spread=4.0)).pairs(list(range(8)))
    seen = (warp_back(pairs) - pairs.frame1.float()).abs().mean(1)
    occluded = pairs.occluded[:, 0]
    assert 0.02 < occluded.float().mean() < 0.6
    assert seen[occluded].mean() > 8 * seen[~occluded].mean()
    y, x = torch.arange(192)[:, None] + pairs.flow[:, 1], torch.arange(256) + pairs.flow[:, 0]
    outside = (x < -0.5) | (x > 255.5) | (y < -0.5) | (y > 191.5)
    assert outside.any() and occluded[outside].all()


def test_sample_is_a_function_of_seed_and_index() -> None:
    first = small().pairs([7])
    torch.manual_seed(5)
    np.random.seed(5)
    again = small().pairs([3, 7, 900_000_000])
    for name in ("frame1", "frame2", "flow", "occluded", "layer"):
        assert torch.equal(getattr(first, name)[0], getattr(again, name)[1]), name
    assert not torch.equal(again.frame1[1], again.frame1[2])
    assert not torch.equal(small(seed=1).pairs([7]).frame1, first.frame1)


def test_the_same_bits_everywhere() -> None:
    """The digest of any machine: integers only, from Philox' raw stream to the 8-bit frames and the flow."""
    pairs = small().pairs([0, 1])
    digest = hashlib.sha256()
    for tensor in (pairs.frame1, pairs.frame2, pairs.flow, pairs.occluded):
        digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest()[:16] == "7db6062f1cd5708a"


@pytest.mark.gpu
def test_a_gpu_draws_the_same_bits() -> None:
    shapes = small()
    here, there = shapes.pairs([0, 1, 2]), shapes.pairs([0, 1, 2], "cuda")
    for name in ("frame1", "frame2", "flow", "occluded"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu()), name


def test_batch_is_the_tasks_contract() -> None:
    batch = small().batch([4, 2, 9])
    assert {name: (tuple(t.shape), t.dtype) for name, t in batch.items()} == {
        "frame1": ((3, 3, 96, 128), torch.float32),
        "frame2": ((3, 3, 96, 128), torch.float32),
        "flow": ((3, 2, 96, 128), torch.float32),
        "valid": ((3, 1, 96, 128), torch.bool),
    }
    assert 0 <= batch["frame1"].min() and 0.5 < batch["frame1"].max() <= 1 and batch["valid"].all()
    assert torch.equal(batch["frame2"][1], small().pairs([2]).frame2[0].float() / 255)


def test_number_of_shapes_and_their_motion() -> None:
    scenes = FlyingShapes(1, procedural=1, natural=False, outlines=1).scenes(range(2000))
    count = (scenes.size[:, 1:, 0] > 0).sum(1)
    assert count.min() == 2 and count.max() == 20
    a, b, dx, dy = np.moveaxis(scenes.motion / ONE, -1, 0)
    rotation, zoom = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
    distance = np.hypot(dx, dy)
    # background, as measured on FlyingChairs: mostly 1-5 px, above 20 in about 2 of 12; still in 8 of 12
    assert 1.5 < np.median(distance[:, 0]) < 5 and 0.1 < (distance[:, 0] > 20).mean() < 0.22
    assert 0.6 < (rotation[:, 0] == 0).mean() < 0.75 and np.abs(rotation[:, 0]).max() < 1.5
    assert 0.97 < zoom[:, 0].min() and zoom[:, 0].max() < 1.03
    # shapes: rotations up to about 20 degrees, zoom 0.88-1.13, displacements beyond 70 px, but not often
    shape = scenes.size[:, 1:, 0] > 0
    assert 12 < np.quantile(np.abs(rotation[:, 1:][shape]), 0.98) < 25
    assert 0.8 < zoom[:, 1:][shape].min() and zoom[:, 1:][shape].max() < 1.2
    assert 0.005 < (distance[:, 1:][shape] > 70).mean() < 0.04


@pytest.mark.data
def test_displacements_are_like_those_of_real_chairs(fpi_data: Path) -> None:
    def lengths(flows: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([flow.square().sum(0).sqrt().flatten() for flow in flows]).flatten()[::97]

    real = lengths([read_flow(path)[0] for path in sorted((fpi_data / "flow/flyingchairs").glob("*.flo"))])
    shapes = FlyingShapes(0, procedural=1, natural=False, outlines=5)
    ours = lengths([shapes.pairs([i]).flow[0] for i in range(40)])
    assert 0.6 < ours.mean() / real.mean() < 1.6
    # nine real pairs have few backgrounds: their quantiles are coarse
    for q in (0.25, 0.5, 0.9, 0.99):
        assert 0.4 < ours.quantile(q) / real.quantile(q) < 2.5, q
    bins = torch.tensor([0, 1, 4, 16, 64, 1e4])
    histograms = [torch.histogram(x, bins).hist / len(x) for x in (real, ours)]
    assert (histograms[0] - histograms[1]).abs().sum() / 2 < 0.3  # total variation; one real pair weighs 0.11


def test_packed_channels_are_exact() -> None:
    image = torch.randint(0, 256, (2, 5, 6, 3), generator=torch.Generator().manual_seed(0))
    assert torch.equal(unpack(pack(image)).permute(0, 2, 3, 1).long(), image)


def test_banks_have_texture_and_smooth_edges() -> None:
    textures = texture_bank(4, False)
    assert textures.shape == (4, 512, 512, 3) and textures.dtype == np.uint8
    fine = np.abs(np.diff(textures.astype(int), axis=2)).reshape(4, -1)
    assert (fine.mean(1) > 1.5).all()  # no flat texture: motion can be seen
    outlines = outline_bank(10)
    inside = (outlines > 0).mean((1, 2))
    assert ((inside > 0.03) & (inside < 0.8)).all()
    assert (outlines[:, [0, -1]] < 0).all() and (outlines[:, :, [0, -1]] < 0).all()
    inner = outlines[:, 1:-1, 1:-1]
    assert np.abs(np.diff(inner, axis=2)).max() <= 64 + 2  # a distance changes by at most 1 a texel


def test_edges_are_anti_aliased() -> None:
    shapes = small(motions=Motions(scale=0.0, background_still=1.0, object_still=1.0))
    pairs = shapes.pairs([0])
    edge = (pairs.layer[..., 1:] != pairs.layer[..., :-1]).sum()
    hard = (pairs.frame1[..., 1:].int() - pairs.frame1[..., :-1].int()).abs().amax(1)[pairs.layer[:, 0, :, 1:] > 0]
    assert edge > 50 and hard.float().mean() < 60


def test_natural_textures_need_scikit_image_and_are_the_photographs() -> None:
    pytest.importorskip("skimage")
    from skimage import data

    bank = texture_bank(0, True)
    assert bank.shape == (7, 512, 512, 3)
    assert np.array_equal(bank[0], data.astronaut())


def test_layout_on_disk(tmp_path: Path) -> None:
    shapes = small()
    write_chairs(shapes, tmp_path, 0, 4, validation_every=2)
    assert (tmp_path / "FlyingChairs_train_val.txt").read_text().split() == ["1", "2", "1", "2"]
    pairs = shapes.pairs([2])
    assert torch.equal(read_image(tmp_path / "data/00003_img1.ppm"), pairs.frame1[0])
    assert torch.equal(read_image(tmp_path / "data/00003_img2.ppm"), pairs.frame2[0])
    flow, valid = read_flow(tmp_path / "data/00003_flow.flo")
    assert torch.equal(flow, pairs.flow[0]) and valid.all()
    assert torch.equal(read_image(tmp_path / "occlusions/00003.png")[0] > 0, pairs.occluded[0, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seed": -1}, "seed"), ({"height": 8}, "sides"), ({"width": 5000}, "sides"), ({"objects": (5, 2)}, "objects")],
)
def test_impossible_settings_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)
    with pytest.raises(ValueError, match="bank is empty"):
        texture_bank(0, False)
