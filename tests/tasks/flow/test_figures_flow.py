"""tasks.flow.figures_flow: what is in the pictures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tasks.flow.figures_flow import Example, comparison, error_map, over_iterations

TRUTH = np.stack([np.tile(np.linspace(-3, 4, 48), (32, 1)), np.full((32, 48), 2.0)])
VALID = np.ones((1, 32, 48), dtype=bool)
ASIDE = np.array([0.5, 0.0])[:, None, None]


def example(name: str = "a", **estimates: np.ndarray) -> Example:
    return Example(name, np.full((3, 32, 48), 99, np.uint8), estimates, TRUTH, VALID)


def titles(fig: plt.Figure) -> list[str]:
    found = [text.get_text() for text in fig.axes[0].texts]
    fig.canvas.draw()
    plt.close(fig)
    return found


def test_error_map_is_the_distance_where_truth_is_known() -> None:
    valid = VALID.copy()
    valid[0, 0, 0] = False
    error = error_map(TRUTH + np.array([3.0, 4.0])[:, None, None], TRUTH, valid)
    assert np.isnan(error[0, 0]) and np.allclose(error[valid[0]], 5.0)


def test_comparison_shows_each_estimate_with_its_error() -> None:
    examples = [example(n, plain=TRUTH + 3, better=TRUTH + ASIDE) for n in "ab"]
    fig = comparison(examples, error_limit=6.0)
    maps = [image for image in fig.axes[0].images if image.get_array().ndim == 2]
    assert [image.get_clim() for image in maps] == [(0, 6.0)] * 4
    assert np.allclose(maps[0].get_array(), 18**0.5) and np.allclose(maps[1].get_array(), 0.5)
    assert titles(fig) == [
        "a", "truth, to 4.5 px", "plain", "EPE 4.24 px", "better", "EPE 0.50 px",
        "b", "truth, to 4.5 px", "plain", "EPE 4.24 px", "better", "EPE 0.50 px",
    ]  # fmt: skip


def test_error_scale_is_shared_and_leaves_outliers_out() -> None:
    wild = TRUTH.copy()
    wild[:, 0, 0] = 1e4
    fig = comparison([example(plain=wild), example(plain=TRUTH + 1)])
    limits = {image.get_clim() for image in fig.axes[0].images if image.get_array().ndim == 2}
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
