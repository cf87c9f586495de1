"""Drawing flow: estimate beside truth and error map (figures 6.3 and 6.7), and one flow over the iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tasks.flow.colors import colour_wheel, flow_to_rgb

ERROR_MAP = "magma"


@dataclass(frozen=True)
class Example:
    """One pair: frame1 (3, H, W) in [0, 1]; estimates by name, and truth, (2, H, W) pixels; valid (1, H, W) bool."""

    name: str
    frame1: Tensor
    estimates: dict[str, Tensor]
    truth: Tensor
    valid: Tensor


def error_map(estimate: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """End point error (H, W) in pixels of flows (2, H, W); nan where valid (1, H, W) is False."""
    error = (estimate - truth).square().sum(0).sqrt()
    return torch.where(valid[0], error, torch.nan)


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
        known = torch.cat([error[error.isfinite()] for row in errors for error in row])
        error_limit = max(float(known.double().kthvalue(max(1, round(0.99 * len(known)))).values), 1e-3)

    fig, axes = _grid(2 + 2 * len(names), [example.truth for example in examples])
    for row, example, maps in zip(axes, examples, errors, strict=True):
        scale = _scale(example.truth, example.valid)
        _show(row[0], example.frame1.clamp(0, 1).mul(255).byte(), example.name)
        _show(row[1], _rgb(example.truth, scale, example.valid), f"truth, to {scale:.1f} px")
        for i, (name, error) in enumerate(zip(names, maps, strict=True)):
            _show(row[2 + 2 * i], flow_to_rgb(example.estimates[name], scale), name)
            drawn = row[3 + 2 * i].imshow(error.numpy(), cmap=ERROR_MAP, vmin=0, vmax=error_limit)
            row[3 + 2 * i].set_title(f"EPE {float(error.nanmean()):.2f} px", fontsize=8)
    fig.colorbar(drawn, ax=[ax for row in axes for ax in row], shrink=0.8, pad=0.01, label="error, pixels")
    _wheel(axes[0][1])
    return fig


def over_iterations(flows: Sequence[tuple[int, Tensor]], truth: Tensor, valid: Tensor, columns: int = 6) -> Figure:
    """Flows (2, H, W) after given iterations, in order, then the truth, all on its colour scale; each with its EPE."""
    if not flows:
        raise ValueError("over_iterations: no flows")
    scale, cells = _scale(truth, valid), len(flows) + 1
    fig, axes = _grid(min(columns, cells), [truth] * -(-cells // columns))
    flat = [ax for row in axes for ax in row]
    for ax, (step, flow) in zip(flat, flows, strict=False):
        epe = float(error_map(flow, truth, valid).nanmean())
        _show(ax, flow_to_rgb(flow, scale), f"iteration {step}: EPE {epe:.2f} px")
    _show(flat[len(flows)], _rgb(truth, scale, valid), "truth")
    _wheel(flat[len(flows)])
    for ax in flat[cells:]:
        ax.set_visible(False)
    return fig


def _grid(columns: int, flows: Sequence[Tensor]) -> tuple[Figure, list[list[Axes]]]:
    """Framed axes, a row for each of `flows` and as high as it."""
    heights = [0.2 + 2.4 * flow.shape[1] / flow.shape[2] for flow in flows]  # inches
    fig, axes = plt.subplots(
        len(flows), columns, figsize=(2.4 * columns, sum(heights)), squeeze=False, layout="constrained",
        height_ratios=heights,
    )  # fmt: skip
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(linewidth=0.5, color="0.6")
    return fig, axes.tolist()


def _scale(truth: Tensor, valid: Tensor) -> float:
    """The longest known flow, but at least 1 pixel."""
    return max(float(torch.where(valid[0], truth.square().sum(0).sqrt(), 0.0).max()), 1.0)


def _rgb(truth: Tensor, scale: float, valid: Tensor) -> Tensor:
    return flow_to_rgb(torch.where(valid, truth, torch.nan), scale)  # black where not known


def _show(ax: Axes, image: Tensor, title: str) -> None:
    ax.imshow(image.permute(1, 2, 0).numpy())
    ax.set_title(title, fontsize=8)


def _wheel(ax: Axes) -> None:
    """The key to the colours, in the lower right corner."""
    corner = ax.inset_axes((0.8, 0.0, 0.2, 0.2), anchor="SE")
    corner.imshow(colour_wheel(61).permute(1, 2, 0).numpy())
    corner.set_axis_off()
