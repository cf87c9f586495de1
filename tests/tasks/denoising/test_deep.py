"""Images with 16 bits a channel, through scripts/denoise.py and by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tasks.denoising import deep
from tasks.denoising.images import ImageError
from tasks.engine import png16
from tests.tasks.denoising.test_restore import SHADES, run
from tests.tasks.denoising.test_restore import identity as identity


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_a_channel_are_kept(tmp_path: Path, identity: Path, channels: int) -> None:
    pixels = np.stack([SHADES * 200 + 17 * c for c in range(channels)]).astype(np.uint16)
    png16.write(tmp_path / "in.png", pixels)
    assert run(tmp_path / "in.png", "--checkpoint", identity, "-o", tmp_path / "out.png") == 0
    np.testing.assert_array_equal(png16.decode((tmp_path / "out.png").read_bytes()), pixels)


def test_deep_images_that_would_lose_bits_are_refused(
    tmp_path: Path, identity: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png16.write(tmp_path / "in.png", np.zeros((3, 4, 4), dtype=np.uint16))
    assert run(tmp_path / "in.png", "--checkpoint", identity, "-o", tmp_path / "out.jpg") == 1
    assert "give a .png or .tiff as its output" in capsys.readouterr().err
    png16.write(tmp_path / "in.png", np.zeros((4, 4, 4), dtype=np.uint16))
    assert run(tmp_path / "in.png", "--checkpoint", identity, "-o", tmp_path / "out.tiff") == 1
    assert "give a .png as its output" in capsys.readouterr().err
    for options, problem in (
        ({"extrasamples": ["assocalpha"]}, "premultiplied alpha"),
        ({"planarconfig": "separate"}, "in.tiff"),
    ):
        tifffile.imwrite(tmp_path / "in.tiff", np.zeros((4, 4, 4), np.uint16), photometric="rgb", **options)
        assert run(tmp_path / "in.tiff", "--checkpoint", identity, "-o", tmp_path / "out.png") == 1
        assert problem in capsys.readouterr().err


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("channels", "name"), [(3, "out.png"), (3, "out.TIFF"), (3, "out.ppm"), (4, "out.png")])
def test_sixteen_bits_a_colour_in_tiff_are_kept(
    tmp_path: Path, identity: Path, channels: int, name: str, orientation: int
) -> None:
    pixels = np.stack([SHADES * 200 + 17 * c for c in range(channels)], 2).astype(np.uint16)
    options = {"extrasamples": ["unassalpha"] * (channels - 3), "extratags": [(274, "H", 1, orientation, True)]}
    tifffile.imwrite(tmp_path / "in.tiff", pixels, photometric="rgb", compression="zlib", **options)
    assert run(tmp_path / "in.tiff", "--checkpoint", identity, "-o", tmp_path / name) == 0
    after = deep.read(tmp_path / name, (tmp_path / name).read_bytes())
    assert after is not None
    expected = np.rot90(pixels, -1) if orientation == 6 else pixels
    np.testing.assert_array_equal(after.transpose(1, 2, 0), expected)


def test_sixteen_bits_of_a_tiff_are_there_for_other_readers(tmp_path: Path) -> None:
    pixels = np.stack([SHADES * 200 + 17 * c for c in range(3)]).astype(np.uint16)
    deep.write(tmp_path / "out.tiff", pixels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tiff").transpose(2, 0, 1), pixels)


def test_a_truncated_deep_tiff_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (64, 64, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tiff", noise, photometric="rgb")
    content = (tmp_path / "in.tiff").read_bytes()
    with pytest.raises(ImageError, match="in.tiff cannot be decoded, it is damaged or truncated"):
        deep.read(tmp_path / "in.tiff", content[: len(content) // 2])


def test_sixteen_bit_gray_of_netpbm_is_kept(tmp_path: Path, identity: Path) -> None:
    Image.fromarray(SHADES.astype(np.uint16) * 257 + 1).save(tmp_path / "in.pgm")
    assert run(tmp_path / "in.pgm", "--checkpoint", identity, "-o", tmp_path / "out.pgm") == 0
    assert (tmp_path / "out.pgm").read_bytes() == (tmp_path / "in.pgm").read_bytes()
