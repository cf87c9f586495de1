"""Flow as colours: the wheel of Baker et al. (A Database and Evaluation Methodology for Optical Flow, IJCV 2011).

Hue is the direction, saturation the length; no motion is white.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.utils import flow_to_image


def flow_to_rgb(flow: Tensor, max_norm: float | None = None) -> Tensor:
    """Colours (3, H, W) uint8 of flow (2, H, W).

    Args:
        flow: pixels; values that are not finite are drawn black.
        max_norm: length in pixels of full saturation; longer flow is drawn with full saturation, so that several
            pictures share one scale. None: the longest flow of this picture.

    Raises:
        ValueError: another shape, or max_norm not above 0.
    """
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"flow must have shape (2, H, W), got {tuple(flow.shape)}")
    if max_norm is not None and not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    flow = flow.detach().float().cpu()
    known = flow.isfinite().all(0)
    flow = torch.where(known, flow, 0.0)
    norm = flow.square().sum(0).sqrt()
    scale = norm.max().item() if max_norm is None else max_norm
    if scale == 0:
        return torch.where(known, 255, 0).to(torch.uint8).expand(3, *known.shape).clone()
    flow = flow / norm.clamp(min=scale)  # length at most 1
    # torchvision scales by the longest flow of the picture: a row of full length pins the scale to 1.
    pin = flow.new_tensor([1.0, 0.0])[:, None, None].expand(2, 1, flow.shape[2])
    colours = flow_to_image(torch.cat([flow, pin], dim=1))[:, :-1]
    return torch.where(known, colours, 0)


def colour_wheel(size: int = 151, max_norm: float = 1.0) -> Tensor:
    """The key to the colours (3, size, size) uint8: the pixel at offset d from the centre shows flow along d.

    `max_norm` is reached at the rim; corners outside are white.
    """
    radius = (size - 1) / 2
    axis = (torch.arange(size) - radius) / radius * max_norm
    flow = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))
    outside = flow.square().sum(0).sqrt() > max_norm * (1 + 1e-6)
    return torch.where(outside, 255, flow_to_rgb(flow, max_norm)).to(torch.uint8)
