"""tasks.restoration.kernels: generated, bicubic and Levin's, and what is refused or put right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.restoration.kernels import bicubic, camera_shake, checked, identity, levin_kernels, read_kernels


@pytest.mark.parametrize("size", [3, 9, 25])
def test_camera_shake_is_seeded_normalised_and_spread(size: int) -> None:
    kernels = [camera_shake(seed, size) for seed in range(8)]
    assert torch.equal(kernels[3], camera_shake(3, size))
    for kernel in kernels:
        assert kernel.shape == (size, size) and float(kernel.sum()) == pytest.approx(1) and float(kernel.min()) >= 0
        assert int((kernel > 0).sum()) >= size - 1  # a path, not a point
    assert len({tuple(kernel.flatten().tolist()) for kernel in kernels}) == 8


def test_bicubic_weights_and_identity() -> None:
    kernel = bicubic(4)
    assert kernel.shape == (15, 15) and float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(kernel, kernel.T) and torch.allclose(kernel, kernel.flip(0))
    assert float(kernel.min()) < 0  # Keys' lobes
    assert float(kernel[7, 7]) == float(kernel.max())
    assert identity().tolist() == [[1.0]]


def test_an_unnormalised_kernel_is_normalised_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = checked("mine.png", np.full((3, 5), 2.0))
    assert float(kernel.sum()) == pytest.approx(1)
    said = " ".join(capsys.readouterr().err.split() + capsys.readouterr().out.split())
    assert "mine.png sums to 30, not 1" in said
    checked("mine.png", np.full((3, 5), 1 / 15))
    assert "sums" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.ones((4, 5)), "mine has 4 x 5 pixels; both sides must be odd"),
        (np.ones((5, 4)), "both sides must be odd"),
        (np.ones((3, 3, 3)), r"is a matrix, got shape \(3, 3, 3\)"),
        (np.zeros((3, 3)), "not all 0"),
        (-np.ones((3, 3)), "not negative"),
        (np.full((3, 3), np.nan), "finite"),
    ],
)
def test_what_is_refused(kernel: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked("mine", kernel)
    with pytest.raises(ValueError, match="odd side"):
        camera_shake(0, 4)


def test_files_of_kernels_are_read_and_normalised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = np.full((3, 5), 1 / 15), np.full((5, 3), 2.0)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "stack.npy", np.stack([one, one]))
    assert [kernel.shape for kernel in read_kernels(tmp_path / "one.npy")] == [(3, 5)]
    assert len(read_kernels(tmp_path / "stack.npy")) == 2 and "sums" not in capsys.readouterr().err
    np.savez(tmp_path / "both.npz", a=one, b=two)
    assert [kernel.shape for kernel in read_kernels(tmp_path / "both.npz")] == [(3, 5), (5, 3)]
    assert "both.npz, kernel b sums to 30, not 1" in " ".join(capsys.readouterr().err.split())
    Image.fromarray(np.eye(7, dtype=np.uint8) * 200).save(tmp_path / "line.png")
    (line,) = read_kernels(tmp_path / "line.png")
    np.testing.assert_allclose(line.numpy(), np.eye(7) / 7, atol=1e-6)


def test_files_that_hold_no_kernels_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "even.npy", np.ones((4, 5)))
    (tmp_path / "damaged.npz").write_bytes(b"PK and so on")
    (tmp_path / "text.png").write_bytes(b"no image")
    for name, message in {
        "none.npy": "data.kernels: there is no file .*none.npy",
        "even.npy": "even.npy, kernel 1 has 4 x 5 pixels; both sides must be odd",
        "damaged.npz": "damaged.npz is not a NumPy file",
        "text.png": "text.png is not an image file",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_kernels(tmp_path / name)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Levin09.mat"
    path.write_bytes(b"not a kernel")
    with pytest.raises(ValueError, match="Levin09.mat is not the HDF5 file expected"):
        levin_kernels(path)


@pytest.mark.data
def test_levins_kernels_as_the_exact_copy_has_them(fpi_data: Path) -> None:
    folder = fpi_data / "restoration" / "levin"
    if not (folder / "levin09_kernels.npz").exists():
        pytest.skip("needs restoration/levin/levin09_kernels.npz in FPI_DATA")
    kernels = levin_kernels(folder / "Levin09.mat")
    with np.load(folder / "levin09_kernels.npz") as exact:
        for i, kernel in enumerate(kernels):
            np.testing.assert_allclose(kernel.numpy(), exact[f"k{i + 1}"], atol=1e-7)
    assert len(kernels) == 8
