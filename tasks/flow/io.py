"""Optical flow files: Middlebury's .flo and KITTI's 16-bit PNG, with the mask of pixels whose flow is known.

Flow is a float32 tensor (2, H, W) in pixels, u to the right, then v downwards; the mask is a bool tensor (H, W).
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from tasks.engine import png16

FLO_MAGIC = b"PIEH"  # the float 202021.25, little-endian
FLO_UNKNOWN = 1e9  # larger values mark unknown flow (Middlebury's convention)
LARGEST_SIDE = 99_999  # of a .flo file, as in Middlebury's reader
KITTI_LIMIT = 512.0  # pixels: the range of KITTI's encoding is [-512, 512) in steps of 1/64


class FlowFileError(ValueError):
    """A file that is not what its reader expects; the message names the file, what was expected and the fix."""

    def __init__(self, path: Path, found: str, expected: str) -> None:
        super().__init__(f"{path}: {found}, expected {expected}. Fix: copy or download this file anew.")


def read_flow(path: str | Path) -> tuple[Tensor, Tensor]:
    """Flow (2, H, W) float32 in pixels and its mask (H, W) bool, from a `.flo` file or a KITTI `.png`.

    The flow is 0 where it is unknown: KITTI's pixels marked invalid, and values that are nan, infinite or above 1e9 in
    a .flo file. Not-finite ground truth is reported with its count in a warning. Raises FlowFileError.
    """
    path = Path(path)
    if path.suffix == ".flo":
        return _read_flo(path)
    if path.suffix == ".png":
        return _read_kitti_png(path)
    raise FlowFileError(path, f"the name ends in {path.suffix!r}", "a .flo or a KITTI .png file")


def flo_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of a .flo file from its header and its length, without reading the flow. Raises FlowFileError."""
    path = Path(path)
    with open(path, "rb") as stream:
        header = stream.read(12)
    if len(header) < 12:
        raise FlowFileError(path, f"{len(header)} bytes", "a .flo file of at least 12 bytes (truncated?)")
    if header[:4] != FLO_MAGIC:
        raise FlowFileError(path, f"magic number {header[:4]!r}", f"{FLO_MAGIC!r} (a little-endian .flo file)")
    width, height = struct.unpack("<ii", header[4:])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise FlowFileError(path, f"size {width}x{height}", f"sides of 1 to {LARGEST_SIDE} pixels")
    expected, found = 12 + 8 * width * height, path.stat().st_size
    if found != expected:
        kind = "truncated" if found < expected else "longer than its header says"
        raise FlowFileError(path, f"{kind}: {found:,} bytes", f"{expected:,} for {width}x{height} pixels")
    return height, width


def write_flo(path: str | Path, flow: Tensor) -> None:
    """Write flow (2, H, W) as a .flo file; read_flow gives the same float32 values back. Raises ValueError."""
    flow = _flow_of(flow)
    height, width = flow.shape[1:]
    data = flow.permute(1, 2, 0).contiguous().numpy().astype("<f4")
    Path(path).write_bytes(FLO_MAGIC + struct.pack("<ii", width, height) + data.tobytes())


def write_kitti_png(path: str | Path, flow: Tensor, valid: Tensor) -> None:
    """Write flow (2, H, W) and its mask (H, W) as KITTI's 16-bit PNG: 64 u + 2^15, 64 v + 2^15, valid.

    Values are rounded to 1/64 pixel. Raises ValueError for known flow outside [-512, 512) and for other shapes.
    """
    flow, valid = _flow_of(flow), valid.detach().cpu().bool()
    if valid.shape != flow.shape[1:]:
        raise ValueError(f"valid must be {tuple(flow.shape[1:])} like the flow, got {tuple(valid.shape)}")
    code = torch.where(valid, (flow.double() * 64).round() + 2**15, 0.0)
    if not bool(((code >= 0) & (code < 2**16)).all()):
        raise ValueError(f"{path}: KITTI's format holds flow in [-{KITTI_LIMIT:.0f}, {KITTI_LIMIT:.0f}) pixels only")
    png16.write(path, torch.cat([code, valid[None].double()]).numpy().astype(np.uint16))


def read_image(path: str | Path) -> Tensor:
    """An image file as uint8 (3, H, W), RGB; gray images are repeated. Raises FlowFileError."""
    path = Path(path)
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise FlowFileError(path, f"cannot be read ({error})", "an image") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header alone. Raises FlowFileError."""
    path = Path(path)
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise FlowFileError(path, "not an image", "an image file") from error


def _read_flo(path: Path) -> tuple[Tensor, Tensor]:
    height, width = flo_size(path)
    data = np.fromfile(path, dtype="<f4", offset=12).astype(np.float32).reshape(height, width, 2)
    flow = torch.from_numpy(data).permute(2, 0, 1).contiguous()
    finite = flow.isfinite().all(0)
    if odd := int((~finite).sum()):
        warnings.warn(
            f"{path}: {odd:,} of {height * width:,} pixels have flow that is not finite; masked", stacklevel=3
        )
    valid = finite & (flow.abs() <= FLO_UNKNOWN).all(0)
    return torch.where(valid, flow, 0.0), valid


def _read_kitti_png(path: Path) -> tuple[Tensor, Tensor]:
    try:
        code = png16.decode(path.read_bytes())
    except ValueError as error:
        raise FlowFileError(path, str(error), "3 channels of 16 bits (KITTI flow)") from error
    if code.shape[0] != 3:
        raise FlowFileError(path, f"{code.shape[0]} channels", "3 channels of 16 bits (KITTI flow)")
    numbers = torch.from_numpy(code.astype(np.int32))
    valid = numbers[2] != 0
    return torch.where(valid, (numbers[:2] - 2**15).float() / 64, 0.0), valid


def _flow_of(flow: Tensor) -> Tensor:
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"flow must have shape (2, H, W), got {tuple(flow.shape)}")
    return flow.detach().cpu().float()
