"""Deep PNG files: written, read back, and told from shallow ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.engine import png16


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_round_trip(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (channels, 5, 7), dtype=np.uint16)
    png16.write(tmp_path / "a.png", pixels)
    content = (tmp_path / "a.png").read_bytes()
    assert png16.is_deep(content)
    assert np.array_equal(png16.decode(content), pixels)
    with Image.open(tmp_path / "a.png") as other:  # another reader: the upper byte at least
        assert other.size == (7, 5)
        if channels == 3:
            assert np.array_equal(np.asarray(other).transpose(2, 0, 1), pixels >> 8)


def test_shallow_damaged_and_odd_pixels_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert not png16.is_deep(content)
    with pytest.raises(ValueError, match="16 bits"):
        png16.decode(content)
    with pytest.raises(ValueError, match="cannot be decoded"):
        png16.decode(png16.SIGNATURE + b"nothing")
    with pytest.raises(ValueError, match="uint16"):
        png16.write(tmp_path / "b.png", np.zeros((5, 2, 2), dtype=np.uint16))
