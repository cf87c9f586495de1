"""tasks.flow.figures_flow: what is in the pictures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tasks.flow.figures_flow import Example, comparison, error_map, over_iterations

TRUTH = torch.stack([torch.linspace(-3, 4, 48).expand(32, 48), torch.full((32, 48), 2.0)])
VALID = torch.ones(1, 32, 48, dtype=torch.bool)


def example(name: str = "a", **estimates: torch.Tensor) -> Example:
    return Example(name, torch.rand(3, 32, 48), estimates, TRUTH, VALID)


def titles(fig: plt.Figure) -> list[str]:
    found = [ax.get_title() for ax in fig.axes if ax.get_title()]
    fig.canvas.draw()
    plt.close(fig)
    return found


def test_error_map_is_the_distance_where_truth_is_known() -> None:
    valid = VALID.clone()
    valid[0, 0, 0] = False
    error = error_map(TRUTH + torch.tensor([3.0, 4.0])[:, None, None], TRUTH, valid)
    assert error[0, 0].isnan() and torch.allclose(error[valid[0]], torch.tensor(5.0))


def test_comparison_shows_each_estimate_with_its_error() -> None:
    examples = [example(n, plain=TRUTH + 3, better=TRUTH + torch.tensor([0.5, 0.0])[:, None, None]) for n in "ab"]
    fig = comparison(examples, error_limit=6.0)
    maps = [ax.images[0] for ax in fig.axes if ax.images and ax.images[0].get_array().ndim == 2]
    assert [image.get_clim() for image in maps] == [(0, 6.0)] * 4
    assert np.allclose(maps[0].get_array(), 18**0.5) and np.allclose(maps[1].get_array(), 0.5)
    assert titles(fig) == [
        "a", "truth, to 4.5 px", "plain", "EPE 4.24 px", "better", "EPE 0.50 px",
        "b", "truth, to 4.5 px", "plain", "EPE 4.24 px", "better", "EPE 0.50 px",
    ]  # fmt: skip


def test_error_scale_is_shared_and_leaves_outliers_out() -> None:
    wild = TRUTH.clone()
    wild[:, 0, 0] = 1e4
    fig = comparison([example(plain=wild), example(plain=TRUTH + 1)])
    limits = {ax.images[0].get_clim() for ax in fig.axes if ax.images and ax.images[0].get_array().ndim == 2}
    assert len(limits) == 1 and limits.pop()[1] == pytest.approx(2**0.5)
    titles(fig)


def test_iterations_are_drawn_in_order_beside_the_truth() -> None:
    flows = [(step, TRUTH * (1 - 0.5**step)) for step in (0, 1, 2, 5)]
    drawn = titles(over_iterations(flows, TRUTH, VALID, columns=3))
    assert [title.split(":")[0] for title in drawn] == [
        "iteration 0",
        "iteration 1",
        "iteration 2",
        "iteration 5",
        "truth",
    ]
    epes = [float(title.split()[-2]) for title in drawn[:-1]]
    assert epes == sorted(epes, reverse=True) and epes[0] > 2 and epes[-1] < 0.1


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        comparison([])
    with pytest.raises(ValueError, match="no flows"):
        over_iterations([], TRUTH, VALID)
    with pytest.raises(ValueError, match=r"estimates \['a'\]"):
        comparison([example(a=TRUTH), example(b=TRUTH)])
