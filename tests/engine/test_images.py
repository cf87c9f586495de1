"""tasks.engine.images: where the pictures of a grid lie."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tasks.engine.images import Picture, beside_truth, grid


def test_pictures_keep_their_shape_and_do_not_touch() -> None:
    wide, high = np.zeros((10, 20), np.uint8), np.zeros((30, 20), np.uint8)
    fig = grid([[Picture(wide, "a"), Picture(wide, "b")], [Picture(high, "c")]], 5, framed=True)
    ax = fig.axes[0]
    boxes = [image.get_extent() for image in ax.images]
    for image, (left, right, bottom, top) in zip(ax.images, boxes, strict=True):
        height, width = image.get_array().shape  # type: ignore[union-attr]
        assert (bottom - top) / (right - left) == pytest.approx(height / width)
        assert 0 <= left < right <= 5
    assert boxes[0][1] < boxes[1][0] and boxes[0][2] < boxes[2][3]  # beside, and (downwards) below
    for text, (left, right, _, top) in zip(ax.texts, boxes, strict=True):
        assert text.get_position()[0] == pytest.approx((left + right) / 2) and text.get_position()[1] < top
    assert len(ax.collections[0].get_paths()) == 3
    plt.close(fig)


def test_a_key_lies_in_the_lower_right_corner() -> None:
    fig = grid([[Picture(np.zeros((10, 20), np.uint8), "a", key=np.zeros((5, 5, 3), np.uint8))]], 4)
    picture, key = (image.get_extent() for image in fig.axes[0].images)
    assert (key[1], key[2]) == (picture[1], picture[2])
    assert key[1] - key[0] == pytest.approx(key[2] - key[3]) == pytest.approx(0.2 * (picture[2] - picture[3]))
    plt.close(fig)


def test_before_and_after_stand_beside_the_truth() -> None:
    images = {name: np.zeros((2, 4, 4), np.uint8) for name in ("noisy", "denoised", "truth")}
    numbers = {"psnr_noisy": np.array([20.0, 21.0]), "psnr_denoised": np.array([25.0, 26.0])}
    fig = beside_truth(images | numbers, "noisy", "denoised")
    found = [text.get_text() for text in fig.axes[0].texts]
    assert found == [
        "noisy, 20.00 dB", "denoised, 25.00 dB", "truth", "noisy, 21.00 dB", "denoised, 26.00 dB", "truth",
    ]  # fmt: skip
    plt.close(fig)
