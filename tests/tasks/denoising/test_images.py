"""Reading images: what is read, and what each kind of bad file says."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.denoising.images import ImageError, as_gray, centre_crop, files, open_image, read_all

GRADIENT = np.linspace(0, 255, 20 * 30).reshape(20, 30).astype(np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def gray(content: bytes) -> np.ndarray:
    return as_gray("a", open_image("a", content))


def test_gray_colour_palette_and_sixteen_bits() -> None:
    picture = Image.fromarray(GRADIENT)
    expected = GRADIENT.astype(np.float32) / 255
    np.testing.assert_allclose(gray(encoded(picture)), expected)
    np.testing.assert_allclose(gray(encoded(picture.convert("RGB"))), expected, atol=1 / 255)
    np.testing.assert_allclose(gray(encoded(picture.convert("P"))), expected, atol=1 / 255)
    deep = (GRADIENT.astype(np.uint16) << 8) + 3
    np.testing.assert_allclose(gray(encoded(Image.fromarray(deep))), deep / 65535, rtol=1e-6)
    colours = Image.new("RGB", (2, 2), (255, 0, 0))
    np.testing.assert_allclose(gray(encoded(colours)), 0.299, atol=0.003)  # ITU-R 601


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    content = encoded(Image.fromarray(GRADIENT), exif=exif)
    np.testing.assert_allclose(gray(content) * 255, np.rot90(GRADIENT, -1), atol=1e-4)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not an image file"),
        (b"<html>not found</html>", "not an image file"),
        (encoded(Image.effect_noise((64, 64), 50))[:900], "damaged or truncated"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:600], "damaged or truncated"),
        (encoded(Image.new("CMYK", (4, 4)), "TIFF"), "colour mode CMYK"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "colour mode F"),
    ],
)
def test_bad_files_are_named(content: bytes, problem: str) -> None:
    with pytest.raises(ImageError, match=problem) as error:
        as_gray("folder/x.png", open_image("folder/x.png", content))
    assert str(error.value).startswith("folder/x.png ")


def test_sixteen_bits_a_colour_are_refused_not_cut() -> None:
    content = bytearray(encoded(Image.new("RGB", (4, 4))))
    content[24] = 16  # the header's bit depth
    with pytest.raises(ImageError, match="16 bits a colour"):
        open_image("deep.png", bytes(content))


def test_crops_are_centred_and_too_small_images_refused() -> None:
    image = np.arange(36.0).reshape(6, 6)
    assert centre_crop("a", image, 2).tolist() == [[14, 15], [20, 21]]
    with pytest.raises(ImageError, match="a has 6 x 6 pixels, the crop needs 7 x 7"):
        centre_crop("a", image, 7)


def test_a_bad_file_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    for name in ("1.png", "3.png"):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(GRADIENT)))
    (tmp_path / "2.png").write_bytes(b"broken")
    (tmp_path / "small.png").write_bytes(encoded(Image.new("L", (5, 5))))
    (tmp_path / "notes.txt").write_text("no image")
    images, errors = read_all(files(tmp_path), crop=16)
    assert [Path(name).name for name, _ in images] == ["1.png", "3.png"]
    assert [Path(str(error).split()[0]).name for error in errors] == ["2.png", "small.png"]
    assert images[0][1].shape == (1, 16, 16) and images[0][1].dtype == torch.float32


def test_a_file_that_cannot_be_read_is_an_error_of_that_file() -> None:
    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    images, (error,) = read_all([("gone.png", gone)], None)
    assert images == [] and "gone.png cannot be read: No such file" in str(error)
