"""Image files as gray arrays: reading, cropping, and the error that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

_BITS_PER_SAMPLE = 258  # TIFF tag

Opener = Callable[[], bytes]


class ImageError(ValueError):
    """An image that cannot be used; the message names the file, what is wrong and what was expected."""


def open_image(name: str, content: bytes) -> Image.Image:
    """The decoded picture, upright (its EXIF orientation applied).

    Raises:
        ImageError: it cannot be decoded, or not without loss (PNG files of 16 bits a *colour*, which Pillow cuts to 8).
    """
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[24:25] == b"\x10" and content[25:26] != b"\x00":
        raise ImageError(
            f"{name} has 16 bits a colour or an alpha channel beside 16 bits; expected 16-bit gray or 8-bit colours: "
            "convert it first"
        )
    try:
        picture = Image.open(BytesIO(content))
        picture.load()  # truncated data are noticed here
        if picture.mode in ("RGB", "RGBA") and 16 in getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, ()):
            raise ImageError(f"{name} is a TIFF of 16 bits a colour, which would be cut to 8: convert it to PNG first")
        return ImageOps.exif_transpose(picture)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image file of a kind known here (PNG, JPEG, TIFF, PPM, ...)") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} cannot be decoded, it is damaged or truncated: {error}") from error


def frames(content: bytes) -> int:
    """How many pictures a file that Pillow reads holds: those of an animation, or the pages of a TIFF."""
    with Image.open(BytesIO(content)) as picture:
        return int(getattr(picture, "n_frames", 1))


def upright(pixels: np.ndarray, content: bytes) -> np.ndarray:
    """Pixels (channels, height, width) turned as the EXIF orientation of their file says."""
    with Image.open(BytesIO(content)) as picture:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(0, 2, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[:, ::rows, ::columns])


def as_gray(name: str, picture: Image.Image) -> np.ndarray:
    """(height, width) float32 on [0, 1]: ITU-R 601 luma for colours (Pillow's "L"), 16 bits kept for gray.

    Raises:
        ImageError: CMYK and other print or floating-point modes, whose gray value is not defined without a profile.
    """
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.float32) / 65535
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise ImageError(
            f"{name} has the colour mode {picture.mode}; expected gray, RGB or palette images: convert it to one first"
        )
    if picture.mode == "P":
        picture = picture.convert("RGB")
    return np.asarray(picture.convert("L")).astype(np.float32) / 255


def centre_crop(name: str, image: np.ndarray, size: int) -> np.ndarray:
    """The ``size`` × ``size`` pixels around the centre. Raises ImageError if the image is smaller."""
    height, width = image.shape
    if height < size or width < size:
        raise ImageError(f"{name} has {width} x {height} pixels, the crop needs {size} x {size}: choose data.crop")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def read_all(
    sources: Iterable[tuple[str, Opener]], crop: int | None
) -> tuple[list[tuple[str, Tensor]], list[ImageError]]:
    """Every readable source as (name, image of shape (1, height, width)), and the errors of the others."""
    images, errors = [], []
    for name, content in sources:
        try:
            gray = as_gray(name, open_image(name, content()))
            gray = gray if crop is None else centre_crop(name, gray, crop)
            images.append((name, torch.from_numpy(np.ascontiguousarray(gray))[None]))
        except ImageError as error:
            errors.append(error)
        except OSError as error:
            errors.append(ImageError(f"{name} cannot be read: {error.strerror or error}"))
    return images, errors


def files(folder: Path) -> list[tuple[str, Opener]]:
    """The image files of a folder in the order of their names, as sources for `read_all`."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".ppm"))
    return [(str(path), path.read_bytes) for path in paths]
