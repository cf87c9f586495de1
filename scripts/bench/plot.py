"""Time against true residual, one panel a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.figure import Figure

# Okabe-Ito colours, told apart with any colour vision; line style and marker say the method.
COLOURS = {"bare": "#000000", "fpi": "#D55E00", "torchdeq": "#0072B2", "jaxopt": "#009E73", "optimistix": "#CC79A7"}
METHODS = {
    "Picard": ("-", "o"),
    "Anderson": ("--", "s"),
    "Broyden": (":", "^"),
    "LBFGS": ("-.", "D"),
}


def draw(curves: dict[str, Any], target: Path) -> None:
    """Write ``target`` and the same name with ``.svg``."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.7 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    handles: dict[str, Any] = {}
    for ax, panel in zip(axes, curves.values(), strict=False):
        for contestant, points in panel["contestants"].items():
            if not points:
                continue
            library, method = contestant.split()
            style, marker = METHODS[method]
            (line,) = ax.plot(
                [point["residual"] for point in points],
                [1e3 * point["seconds"] for point in points],
                color=COLOURS[library],
                linestyle=style,
                marker=marker,
                markersize=4.5,
                linewidth=2.0 if library == "fpi" else 1.2,
                zorder=3 if library == "fpi" else 2,
                label=contestant,
            )
            handles.setdefault(contestant, line)
        ax.set(xscale="log", yscale="log", xlabel=panel["error"], ylabel="time (ms)")
        ax.set_title(_wrapped(panel["title"]), fontsize=9)
        ax.invert_xaxis()
        ax.grid(which="major", alpha=0.3)
    for ax in axes[len(curves) :]:
        ax.set_visible(False)
    ordered = sorted(handles, key=lambda name: (list(COLOURS).index(name.split()[0]), name))
    figure.legend([handles[name] for name in ordered], ordered, loc="outside lower center", ncols=5, fontsize=9)
    target.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "core"}):
        figure.savefig(target, dpi=150)
        figure.savefig(target.with_suffix(".svg"), metadata={"Date": None})


def _wrapped(title: str) -> str:
    """A title in two lines, broken at a comma near its middle."""
    parts = title.split(", ")
    best = min(range(1, len(parts) + 1), key=lambda k: abs(len(", ".join(parts[:k])) - len(title) / 2))
    return ", ".join(parts[:best]) + (",\n" + ", ".join(parts[best:]) if parts[best:] else "")
