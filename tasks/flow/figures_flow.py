"""Drawing flow: estimate beside truth and error map (figures 6.3 and 6.7), and one flow over the iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from tasks.engine.images import Picture, colour_bar, grid
from tasks.flow.colors import colour_wheel, flow_to_rgb

WIDTH = 2.4  # inches, of a picture
FONTSIZE = 8


@dataclass(frozen=True)
class Example:
    """One pair: frame1 (3, H, W) uint8; estimates by name, and truth, (2, H, W) pixels; valid (1, H, W) bool."""

    name: str
    frame1: np.ndarray
    estimates: dict[str, np.ndarray]
    truth: np.ndarray
    valid: np.ndarray


def error_map(estimate: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """End point error (H, W) in pixels of flows (2, H, W); nan where valid (1, H, W) is False."""
    return np.where(valid[0], np.hypot(*(estimate - truth)), np.nan)


def mean_error(error: np.ndarray) -> float:
    """The mean end point error of a map, where it is known."""
    return float(np.nanmean(error, dtype=np.float64))


def comparison(examples: Sequence[Example], error_limit: float | None = None) -> Figure:
    """A row an example: frame 1, truth, then flow and error map of each estimate, with its EPE in pixels.

    Flows of a row share the truth's colour scale. Error maps share one scale of 0...error_limit pixels (None: the 99 %
    quantile of all errors); white: truth not known. Raises ValueError without examples or for different estimates.
    """
    if not examples:
        raise ValueError("comparison: no examples")
    names = list(examples[0].estimates)
    if any(list(example.estimates) != names for example in examples):
        raise ValueError(f"comparison: every example must have the estimates {names}")
    errors = [[error_map(e.estimates[n], e.truth, e.valid) for n in names] for e in examples]
    if error_limit is None:
        known = np.concatenate([error[np.isfinite(error)] for row in errors for error in row])
        error_limit = max(float(np.quantile(known, 0.99, method="nearest")), 1e-3)

    error_style = {"cmap": "magma", "vmin": 0, "vmax": error_limit}
    lines = []
    for example, maps in zip(examples, errors, strict=True):
        scale = _scale(example.truth, example.valid)
        truth = _known(example.truth, example.valid)
        lines.append([Picture(example.frame1.transpose(1, 2, 0), example.name, {})])
        lines[-1].append(_flow(truth, scale, f"truth, to {scale:.1f} px", key=len(lines) == 1))
        for name, error in zip(names, maps, strict=True):
            lines[-1].append(_flow(example.estimates[name], scale, name))
            lines[-1].append(Picture(error, f"EPE {mean_error(error):.2f} px", error_style))
    fig = grid(lines, WIDTH * len(lines[0]), FONTSIZE, framed=True)
    colour_bar(fig, "error, pixels")
    return fig


def over_iterations(
    flows: Sequence[tuple[int, np.ndarray]], truth: np.ndarray, valid: np.ndarray, columns: int = 6
) -> Figure:
    """Flows (2, H, W) after given iterations, in order, then the truth, all on its colour scale; each with its EPE."""
    if not flows:
        raise ValueError("over_iterations: no flows")
    scale = _scale(truth, valid)
    pictures = [
        _flow(flow, scale, f"iteration {step}: EPE {mean_error(error_map(flow, truth, valid)):.2f} px")
        for step, flow in flows
    ]
    pictures.append(_flow(_known(truth, valid), scale, "truth", key=True))
    lines = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    return grid(lines, WIDTH * len(lines[0]), FONTSIZE, framed=True)


def _scale(truth: np.ndarray, valid: np.ndarray) -> float:
    """The longest known flow, but at least 1 pixel."""
    return max(float(np.where(valid[0], np.hypot(*truth), 0.0).max()), 1.0)


def _known(truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(valid, truth, np.nan)  # black where not known


def _flow(flow: np.ndarray, scale: float, title: str, key: bool = False) -> Picture:
    return Picture(flow_to_rgb(flow, scale), title, {}, colour_wheel(61) if key else None)
