"""PNG files with 16 bits a channel in several channels, which Pillow cuts to 8 bits and no library here writes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: gray, gray + alpha, RGB, RGBA


def is_deep(content: bytes) -> bool:
    """Are these the bytes of a PNG with 16 bits a channel?"""
    return content[:8] == SIGNATURE and content[24:25] == b"\x10"


def decode(content: bytes) -> np.ndarray:
    """The pixels as uint16 (channels, height, width), channels gray | gray, alpha | RGB | RGBA.

    Raises:
        ValueError: the data are damaged, or hold other than 16 bits a channel.
    """
    try:
        pixels = decode_png(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    except RuntimeError as error:
        raise ValueError(f"cannot be decoded as PNG ({error})") from error
    if pixels.dtype != torch.uint16:
        raise ValueError(f"has {pixels.dtype} pixels, expected 16 bits a channel")
    found: np.ndarray = pixels.numpy()
    return found


def write(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint16 pixels (channels, height, width), 1 to 4 channels as in `decode`.

    Raises:
        ValueError: another shape or dtype.
        OSError: the file cannot be written.
    """
    if pixels.ndim != 3 or pixels.shape[0] not in _COLOUR_TYPES or pixels.dtype != np.uint16:
        raise ValueError(f"expected uint16 (1 to 4 channels, height, width), got {pixels.dtype} {pixels.shape}")
    channels, height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.transpose(1, 2, 0).astype(">u2"))  # \0: no filter
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    with open(path, "wb") as stream:
        stream.write(SIGNATURE)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            stream.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
