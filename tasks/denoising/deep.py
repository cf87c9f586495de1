"""Image files with 16 bits a channel that Pillow cuts to 8: PNG, and colours in TIFF and PPM."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.denoising.images import ImageError, upright
from tasks.engine import png16

PPM = re.compile(rb"P6\s(?:\s*#[^\n]*\n)*\s*\d+\s+\d+\s+65535\s")
BITS, PLANAR, EXTRA_SAMPLES = 258, 284, 338  # TIFF tags
WITHOUT_ALPHA = (".tif", ".tiff", ".ppm")


def read(source: Path, content: bytes) -> np.ndarray | None:
    """uint16 (channels, height, width), upright, channels gray | gray, alpha | RGB | RGBA; None: an image for Pillow.

    Raises:
        ImageError: the file is damaged, or a TIFF in separate planes or with premultiplied alpha.
    """
    if png16.is_deep(content):
        try:
            return upright(png16.decode(content), content)
        except ValueError as error:
            raise ImageError(f"{source} {error}") from error
    if not (PPM.match(content) or _is_deep_tiff(source, content)):
        return None
    import cv2  # here: few images need it

    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)  # upright
    except cv2.error:
        found = None
    if found is None or found.dtype != np.uint16 or found.ndim != 3:
        raise ImageError(f"{source} cannot be decoded, it is damaged or truncated")
    return np.ascontiguousarray(_swapped(found).transpose(2, 0, 1))


def check_target(source: Path, target: Path, channels: int) -> None:
    """Raises ImageError if `write` cannot keep what the image has in a file of this name."""
    suffix = target.suffix.lower()
    if suffix != ".png" and not (suffix in WITHOUT_ALPHA and channels == 3):
        kinds = "a .png or .tiff" if channels == 3 else "a .png"
        raise ImageError(f"{source} has 16 bits a channel: give {kinds} as its output, got {target}")


def write(target: Path, pixels: np.ndarray) -> None:
    """Write uint16 (channels, height, width) as PNG, or three channels as TIFF or PPM. Raises OSError."""
    if target.suffix.lower() == ".png":
        png16.write(target, pixels)
        return
    import cv2

    deflate = [cv2.IMWRITE_TIFF_COMPRESSION, 8] if target.suffix.lower() != ".ppm" else []
    _, code = cv2.imencode(target.suffix.lower(), _swapped(pixels.transpose(1, 2, 0)), deflate)
    target.write_bytes(code.tobytes())


def _is_deep_tiff(source: Path, content: bytes) -> bool:
    try:
        with Image.open(BytesIO(content)) as picture:
            tags = dict(getattr(picture, "tag_v2", {}))
            mode = picture.mode
    except Exception:  # whatever damaged bytes make Pillow raise: it is asked again, and says so
        return False
    if 16 not in tags.get(BITS, ()) or mode not in ("RGB", "RGBA", "RGBX"):
        return False
    if tags.get(PLANAR) == 2 or 1 in tags.get(EXTRA_SAMPLES, ()):
        what = "colours in separate planes" if tags.get(PLANAR) == 2 else "premultiplied alpha"
        raise ImageError(f"{source} is a TIFF of 16 bits a channel with {what}: convert it to PNG first")
    return True


def _swapped(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's order of the channels for RGB's, and back; (height, width, 3 or 4)."""
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
