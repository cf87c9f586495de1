"""tasks.flow.colors: the wheel of Baker et al."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.utils import flow_to_image

from tasks.flow.colors import colour_wheel, flow_to_rgb


def test_colours_are_those_of_torchvision() -> None:
    flow = np.random.default_rng(0).normal(size=(2, 40, 50)).astype(np.float32)
    expected = flow_to_image(torch.from_numpy(flow)).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(flow_to_rgb(flow) - expected).max() <= 1  # rounded down, here and there from another side


def test_directions_have_the_wheels_colours() -> None:
    def colour(u: float, v: float) -> list[int]:
        found: list[int] = flow_to_rgb(np.array([u, v])[:, None, None], max_norm=1.0)[0, 0].tolist()
        return found

    red, yellow, cyan, blue = colour(1, 0), colour(0, 1), colour(-1, 0), colour(-0.5, -0.866)
    assert red[0] > 240 and max(red[1:]) < 30
    assert min(yellow[:2]) > 180 and yellow[2] < 30
    assert cyan[0] < 30 and min(cyan[1:]) > 180
    assert blue[2] > 240 and max(blue[:2]) < 120
    assert colour(0, 0) == [255, 255, 255]


def test_scale_is_shared_and_longer_flow_saturates() -> None:
    flow = np.zeros((2, 2, 3))
    flow[0, 0] = [1.0, 2.0, 4.0]
    by_itself, shared = flow_to_rgb(flow), flow_to_rgb(flow, max_norm=8.0)
    assert by_itself[0, :, 1].tolist() == sorted(by_itself[0, :, 1].tolist(), reverse=True)
    assert shared[0, 2, 1] == by_itself[0, 1, 1] and shared[0, 2, 1] > by_itself[0, 2, 1]
    saturated = flow_to_rgb(flow, max_norm=2.0)
    assert np.array_equal(saturated[0, 1], saturated[0, 2])


def test_odd_flow_is_drawn_and_odd_arguments_are_refused() -> None:
    flow = np.ones((2, 3, 4))
    flow[0, 1, 1] = np.nan
    assert flow_to_rgb(flow)[1, 1].tolist() == [0, 0, 0]
    assert (flow_to_rgb(np.zeros((2, 3, 4))) == 255).all()
    with pytest.raises(ValueError, match=r"\(2, H, W\)"):
        flow_to_rgb(flow[:1])
    with pytest.raises(ValueError, match="max_norm"):
        flow_to_rgb(flow, max_norm=0.0)


def test_wheel_is_white_in_the_middle_and_outside() -> None:
    wheel = colour_wheel(51)
    assert wheel.shape == (51, 51, 3) and (wheel[25, 25] == 255).all() and (wheel[0, 0] == 255).all()
    assert wheel[25, 50].tolist() == flow_to_rgb(np.array([1.0, 0.0])[:, None, None])[0, 0].tolist()
