"""Flow as colours: the wheel of Baker et al. (A Database and Evaluation Methodology for Optical Flow, IJCV 2011).

Hue is the direction, saturation the length; no motion is white. In numpy, for a report need not load torch.
"""

from __future__ import annotations

import numpy as np

CORNERS = np.array(  # of the wheel, from red over yellow, green, cyan, blue and magenta back to red
    [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255], [255, 0, 0]]
)
BETWEEN = (15, 6, 4, 11, 13, 6)  # hues from each corner to the next: as many as the eye tells apart


def flow_to_rgb(flow: np.ndarray, max_norm: float | None = None) -> np.ndarray:
    """Colours (H, W, 3) uint8 of flow (2, H, W).

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
    known = np.isfinite(flow).all(0)
    u, v = np.where(known, flow, 0.0)
    norm = np.hypot(u, v)
    scale = float(norm.max()) if max_norm is None else max_norm
    saturation = np.minimum(norm / scale, 1.0) if scale > 0 else np.zeros_like(norm)
    hues = np.concatenate([_hues(*ends) for ends in zip(CORNERS[:-1], CORNERS[1:], BETWEEN, strict=True)])
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(hues) - 1)
    below = np.floor(place).astype(int)
    share = (place - below)[..., None]
    full = (1 - share) * hues[below] + share * hues[(below + 1) % len(hues)]
    colours = np.floor(255 - saturation[..., None] * (255 - full))
    return np.where(known[..., None], colours, 0).astype(np.uint8)


def _hues(start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    """Colours (count, 3) from `start` up to, and without, `end`."""
    step: np.ndarray = np.sign(end - start)
    return start + step * np.floor(255 * np.arange(count) / count)[:, None]


def colour_wheel(size: int = 151, max_norm: float = 1.0) -> np.ndarray:
    """The key to the colours (size, size, 3) uint8: the pixel at offset d from the centre shows flow along d.

    `max_norm` is reached at the rim; corners outside are white.
    """
    radius = (size - 1) / 2
    axis = (np.arange(size) - radius) / radius * max_norm
    flow = np.stack(np.meshgrid(axis, axis, indexing="xy"))
    outside = np.hypot(*flow) > max_norm * (1 + 1e-6)
    return np.where(outside[..., None], 255, flow_to_rgb(flow, max_norm)).astype(np.uint8)
