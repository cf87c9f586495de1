"""The end-point error and FlowNet's multi-scale training loss, over the pixels whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)  # of flow2 ... flow6


def end_point_error(flow: Tensor, truth: Tensor) -> Tensor:
    """√((u − u')² + (v − v')²) of every pixel (eq. 6.3): (batch, height, width).

    Its gradient where both agree is 0 (that of a norm is not defined there).
    """
    return torch.linalg.vector_norm(flow - truth, dim=1)


def mean_epe(flow: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """The average end-point error of each sample over its valid pixels, (batch,); nan where none is valid.

    Args:
        flow, truth: (batch, 2, height, width), pixels at full resolution.
        valid: (batch, 1, height, width), boolean; the truth elsewhere may hold anything, nan included.
    """
    known = valid[:, 0]
    error = torch.where(known, end_point_error(flow, torch.where(valid, truth, 0)), 0)
    count = known.sum((1, 2))
    # the division by 1 keeps the gradient of a sample without truth at 0
    return torch.where(count > 0, error.sum((1, 2)) / count.clamp_min(1), torch.nan)


def pool_truth(truth: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The mean of the valid vectors in each cell of a coarser grid, and which cells have one.

    Args:
        truth, valid: as for `mean_epe`.
        size: (height, width) of the grid.

    Returns:
        (batch, 2, *size) and (batch, 1, *size), boolean.
    """
    weight = F.adaptive_avg_pool2d(valid.to(truth.dtype), size)
    total = F.adaptive_avg_pool2d(torch.where(valid, truth, 0), size)
    return total / weight.clamp_min(torch.finfo(truth.dtype).tiny), weight > 0


def multiscale_loss(flows: Sequence[Tensor], truth: Tensor, valid: Tensor, div_flow: float = 20.0) -> Tensor:
    """FlowNet's loss: Σ over scales of weight · Σ over pixels of the end-point error / batch.

    The truth is averaged over each coarse pixel and divided by `div_flow`; the weights are `SCALE_WEIGHTS`.

    Args:
        flows: (flow2, ..., flow6) at 1/4, 1/8, ... of the resolution, in units of `div_flow` pixels.
        truth, valid: as for `mean_epe`.
    """
    loss = truth.new_zeros(())
    for flow, weight in zip(flows, SCALE_WEIGHTS, strict=True):
        target, known = pool_truth(truth, valid, (flow.shape[2], flow.shape[3]))
        error = end_point_error(flow, target / div_flow)
        loss = loss + weight * torch.where(known[:, 0], error, 0).sum() / len(flow)
    return loss
