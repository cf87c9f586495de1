"""Figures are saved in three forms, the same bytes for the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from tasks.engine import plots
from tasks.engine.store import Run, read_csv
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


def test_labels_of_a_logarithmic_axis_are_plain_text(tmp_path: Path) -> None:
    fig, (wide, narrow) = plt.subplots(1, 2)
    for ax, values in ((wide, [1e-3, 1e4]), (narrow, [2.5e-3, 4e-3])):
        ax.plot([0, 1], values)
        ax.set_yscale("log")
    plots.save_figure(fig, tmp_path, "figure0.1", "Loss", [{"y": 1.0}], "A caption.")
    assert {"10⁻³", "10⁰", "10⁴"} <= {label.get_text() for label in wide.get_yticklabels()}
    assert "3×10⁻³" in {label.get_text() for label in narrow.get_yticklabels(minor=True)}
    plt.close(fig)


def test_a_logarithmic_axis_keeps_its_base(tmp_path: Path) -> None:
    fig, ax = plt.subplots()
    ax.plot([1, 64], [0, 1])
    ax.set_xscale("log", base=2)
    plots.save_figure(fig, tmp_path, "figure0.1", "Loss", [{"y": 1.0}], "A caption.")
    assert {"2⁰", "2⁶"} <= {label.get_text() for label in ax.get_xticklabels()}
    plt.close(fig)


@pytest.mark.parametrize(
    ("panels", "kept"),
    [
        ([{"a": "C0", "b": "C1"}, {"a": "C0"}, {"b": "C1", "a": "C0"}], [True, False, False]),
        ([{"a": "C0"}, {"a": "C0", "b": "C1"}, {"b": "C1"}], [True, True, False]),
        ([{"a": "C0"}, {"a": "C1"}], [True, True]),  # another colour is another row
    ],
)
def test_a_legend_is_drawn_once(tmp_path: Path, panels: list[dict[str, str]], kept: list[bool]) -> None:
    fig, axes = plt.subplots(1, len(panels))
    for ax, rows in zip(axes, panels, strict=True):
        for label, colour in rows.items():
            ax.plot([0, 1], color=colour, label=label)
        ax.legend()
    plots.save_figure(fig, tmp_path, "figure0.1", "Loss", [{"y": 1.0}], "A caption.")
    assert [ax.get_legend() is not None for ax in axes] == kept
    plt.close(fig)


def test_a_legend_beside_its_panel_keeps_inside_the_figure(tmp_path: Path) -> None:
    fig, ax = plt.subplots(figsize=(4, 2))
    ax.plot([0, 1], label="a long name of a row")
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    plots.save_figure(fig, tmp_path, "figure0.1", "Loss", [{"y": 1.0}], "A caption.")
    assert legend.get_window_extent().x1 < fig.bbox.x1
    plt.close(fig)


def test_what_is_drawn_keeps_inside_the_figure(tmp_path: Path) -> None:
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.set_ylabel("a label")
    ax.plot([0, 1], [0, 123456789.5])
    run = Run(tmp_path, {"data": "data of a name that is far too long for a figure of this width"})
    shown: list[Bbox] = []
    saved = plots.save_figure

    def save(figure: Figure, *args: Any) -> plots.FigureFile:
        file = saved(figure, *args)
        shown.append(figure.get_tightbbox())
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save_figure", save)
        plots.save_labelled(fig, tmp_path, [run], "figure0.1", "Loss", [{"y": 1.0}], "A caption.")
    assert 0 <= shown[0].x0 and shown[0].x1 <= 3 and 0 <= shown[0].y0 and shown[0].y1 <= 2
    with Image.open(tmp_path / "figure0.1.png") as picture:
        assert picture.size == (3 * plots.DPI, 2 * plots.DPI)
