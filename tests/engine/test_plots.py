"""Figures are saved in three forms, the same bytes for the same data."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tasks.engine import plots
from tasks.engine.store import read_csv
from tasks.engine.verdict import mean_ci95


def test_a_figure_is_png_svg_and_csv(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    contents = []
    for folder in ("a", "b"):
        fig, ax = plt.subplots()
        plots.curve_band(ax, [1, 2], [[0.5, 0.25], [0.6, 0.3]], "row")
        file = plots.save_figure(fig, tmp_path / folder, "figure0.1", "Loss", rows, "A caption.")
        plt.close(fig)
        contents.append([(tmp_path / folder / name).read_bytes() for name in (file.png, file.svg, file.csv)])
    assert (file.item, file.title, file.caption) == ("figure0.1", "Loss", "A caption.")
    assert contents[0][0].startswith(b"\x89PNG") and b"<svg" in contents[0][1]
    assert contents[0] == contents[1]
    assert read_csv(tmp_path / "a" / file.csv) == [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.25}]


def test_the_band_is_the_interval_over_the_seeds() -> None:
    fig, ax = plt.subplots()
    seeds = [[1.0, 2.0, 3.0], [2.0, 2.5, 3.5], [1.5, 2.5]]  # the last stopped early
    plots.curve_band(ax, [1, 2, 3], seeds, "row")
    (line,), (band,) = ax.lines, ax.collections
    assert list(line.get_xdata()) == [1, 2]
    assert list(line.get_ydata()) == pytest.approx([1.5, 7 / 3])
    mean, half = mean_ci95([1.0, 2.0, 1.5])
    ys = np.asarray(band.get_paths()[0].vertices)
    at_first = ys[ys[:, 0] == 1, 1]
    assert (at_first.min(), at_first.max()) == pytest.approx((mean - (half or 0), mean + (half or 0)))
    plt.close(fig)


def test_one_seed_has_no_band() -> None:
    fig, ax = plt.subplots()
    plots.curve_band(ax, [1, 2], [[1.0, 2.0]], "row")
    assert not ax.collections
    plt.close(fig)
