"""Figures: files in three forms, and curves with their interval over the seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterSciNotation

from tasks.engine import drawing
from tasks.engine.store import Run, atomic_write, data_label, write_csv
from tasks.engine.verdict import mean_ci95

mpl.use("Agg")  # files only; no display is needed
mpl.rcParams["text.hinting"] = "none"  # texts as in the SVG; fitting them to pixels takes a seventh of the time
mpl.rcParams["axes.titley"] = 1.0  # else every drawing measures all tick labels, in search of one that a title hits
DPI = 150
Curve = tuple[list[float], list[float]]
SUPERSCRIPTS = str.maketrans("-−0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class FigureFile:
    """A saved figure: the paper's item, and its file names inside the folder it was saved to."""

    item: str
    title: str
    png: str
    svg: str
    csv: str
    caption: str


def save_figure(
    fig: Figure,
    out: Path,
    item: str,
    title: str,
    rows_for_csv: list[dict[str, Any]],
    caption: str,
    name: str | None = None,
) -> FigureFile:
    """Write <out>/<name>.png (150 dpi), .svg (the same bytes for the same data) and .csv (the points drawn).

    `name` defaults to `item`; give one where an item has several figures. The figure stays open, laid out as it was
    saved (inside its size, by matplotlib's tight layout unless it has another): it is the caller's.
    """
    out.mkdir(parents=True, exist_ok=True)
    name = name or item
    _lay_out(fig)
    png, svg = drawing.draw(fig, DPI, name)
    atomic_write(out / f"{name}.png", png)
    atomic_write(out / f"{name}.svg", svg)
    write_csv(out / f"{name}.csv", rows_for_csv)
    return FigureFile(item, title, f"{name}.png", f"{name}.svg", f"{name}.csv", caption)


def _lay_out(fig: Figure) -> None:
    _share_legends(fig)
    if fig.get_layout_engine() is None:
        fig.set_layout_engine("tight", pad=0.4, w_pad=1, h_pad=0.8, rect=None)  # without rect in one pass
    for ax in fig.axes:
        ax.spines[:].set_in_layout(False)  # the axes' own box does
        for axis in (ax.xaxis, ax.yaxis):
            if axis.get_scale() == "log":
                scale: Any = axis.get_transform()
                axis.set_major_formatter(Powers(scale.base))
                axis.set_minor_formatter(Powers(scale.base))


def _share_legends(fig: Figure) -> None:
    """Of panels whose legends say the same, or less than an earlier one, only the first keeps its legend."""
    said: list[set[tuple[str, object]]] = []
    for ax in fig.axes:
        legend = ax.get_legend()
        if legend is None:
            continue
        legend.set_in_layout(legend.get_bbox_to_anchor() is not ax.bbox)  # else it lies inside its panel
        entries: set[tuple[str, object]] = {
            (label, handle.get_color() if isinstance(handle, Line2D) else handle)
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        if any(entries <= earlier for earlier in said):
            legend.remove()
        said.append(entries)


class Powers(LogFormatterSciNotation):
    """The usual labels of a logarithmic axis, 10⁻³ or 2×10⁻³, as plain text: mathematical text takes far longer."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        label = super().__call__(x, pos)
        found = re.fullmatch(r"\$\\mathdefault\{(?:(.+)\\times)?(\d+)\^\{(.+)\}\}\$", label)
        if found is None:
            return label
        factor, base, power = found.groups()
        return (f"{factor}×{base}" if factor else base) + power.translate(SUPERSCRIPTS)


def save_labelled(
    fig: Figure, out: Path, runs: Sequence[Run], item: str, title: str, rows: list[dict[str, Any]], caption: str
) -> FigureFile | None:
    """`save_figure` with the data's name in title and caption, unless nothing was drawn; closes the figure."""
    saved = None
    if rows:
        label = data_label(runs)
        top = 1 - 0.04 / fig.get_figheight()
        fig.suptitle(f"{title} ({label})", y=top, fontsize=11, wrap=True)
        saved = save_figure(fig, out, item, title, rows, f"{caption} Data: {label}.")
    plt.close(fig)
    return saved


def curve_band(
    ax: Axes,
    xs: Sequence[float],
    ys_by_seed: Sequence[Sequence[float]],
    label: str,
    *,
    logarithmic: bool = False,
    **style: Any,
) -> None:
    """The mean over the seeds as a line, and its 95 % t-interval as a band (none for a single seed).

    `logarithmic` takes mean and interval of the logarithms (the geometric mean), for positive values on a log axis.
    Curves of different lengths (a run that stopped early) are drawn up to the shortest. `style` goes to `ax.plot`.
    """
    length = min(len(xs), *(len(ys) for ys in ys_by_seed))
    into, back = (math.log, math.exp) if logarithmic else (float, float)
    points = [mean_ci95([into(ys[i]) for ys in ys_by_seed]) for i in range(length)]
    (line,) = ax.plot(xs[:length], [back(mean) for mean, _ in points], label=label, **style)
    if len(ys_by_seed) > 1:
        low = [back(mean - (half or 0.0)) for mean, half in points]
        high = [back(mean + (half or 0.0)) for mean, half in points]
        ax.fill_between(xs[:length], low, high, alpha=0.2, color=line.get_color(), linewidth=0)


def row_bands(
    ax: Axes,
    curves: Mapping[str, Mapping[int, Curve]],
    labels: Mapping[str, str],
    columns: tuple[str, str],
    *,
    colours: Mapping[str, str] | None = None,
    logarithmic: bool = False,
) -> list[dict[str, Any]]:
    """`curve_band` for each of a table's rows, in its own colour if it has one; `curves`: points by row and seed.

    Returns the points of every seed, {"row", "seed", and the two `columns`}; curves without points are left out.
    """
    table: list[dict[str, Any]] = []
    for row, seeds in curves.items():
        there = {seed: (xs, ys) for seed, (xs, ys) in seeds.items() if xs}
        if not there:
            continue
        xs, several = next(iter(there.values()))[0], [ys for _, ys in there.values()]
        style = {} if colours is None else {"color": colours[row]}
        curve_band(ax, xs, several, labels[row], logarithmic=logarithmic, **style)
        for seed, points in there.items():
            table += [{"row": row, "seed": seed, columns[0]: x, columns[1]: y} for x, y in zip(*points, strict=True)]
    return table
