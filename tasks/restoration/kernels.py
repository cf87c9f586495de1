"""Blur kernels: the camera-shake generator, Levin's eight, the bicubic one of super-resolution, and their checks."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from tasks.engine import console
from tasks.restoration.hdf5 import open_hdf5
from tasks.restoration.sources import read_gray

ROUNDING = 1e-3  # a kernel file of 8 or 16 bits may miss the sum 1 by so much


def checked(name: str, kernel: np.ndarray) -> Tensor:
    """The kernel as float32 (k, l), normalised to the sum 1 (with a warning if it was not).

    Raises:
        ValueError: not a matrix, an even side, values that are negative or not finite, or no positive sum.
    """
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(f"{name}: a blur kernel is a matrix, got shape {kernel.shape}")
    if kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise ValueError(
            f"{name} has {kernel.shape[0]} x {kernel.shape[1]} pixels; both sides must be odd, so that it has a "
            "middle: add a row or column of zeros on the side that keeps the middle where you mean it"
        )
    if not np.isfinite(kernel).all() or kernel.min() < 0 or not kernel.sum() > 0:
        raise ValueError(f"{name}: the values of a blur kernel are finite, not negative, and not all 0")
    total = float(kernel.sum())
    if abs(total - 1) > ROUNDING:
        console.warn(f"{name} sums to {total:.6g}, not 1: it is normalised, so that brightness is kept")
    return torch.from_numpy(np.ascontiguousarray(kernel / total)).float()


def camera_shake(seed: int, size: int, steps: int = 400) -> Tensor:
    """A generated kernel (size, size): the path of a shaking camera, exposed evenly in time.

    A random walk of the velocity with some inertia and a pull back to the middle (after Boracchi & Foi 2012, in our own
    simplest form), scaled to fill most of the window, centred, drawn with bilinear weights.

    Args:
        seed: of the path; the same kernel on every machine.
        size: side in pixels, odd, at least 3.
    """
    if size < 3 or size % 2 == 0:
        raise ValueError(f"a camera-shake kernel needs an odd side of at least 3 pixels, got {size}")
    random = np.random.Generator(np.random.PCG64(seed))
    position, velocity, path = np.zeros(2), random.standard_normal(2), []
    for _ in range(steps):
        velocity = 0.97 * velocity + 0.25 * random.standard_normal(2) - 0.002 * position
        if random.random() < 0.005:  # a jerk
            velocity = 2.0 * random.standard_normal(2)
        position = position + velocity
        path.append(position)
    points = np.array(path) - np.mean(path, axis=0)
    reach = (size // 2 - 0.5) * random.uniform(0.6, 1.0)
    points *= reach / np.abs(points).max()
    kernel = np.zeros((size, size))
    corner = np.floor(points).astype(int)
    part = points - corner
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(kernel, (corner[:, 0] + dy + size // 2, corner[:, 1] + dx + size // 2), weight)
    return checked(f"camera shake {seed}", kernel / kernel.sum())


def bicubic(factor: int) -> Tensor:
    """Keys' cubic (a = −½) stretched by ``factor``, (4·factor − 1)²: the antialiasing kernel of bicubic reduction."""
    t = np.abs(np.arange(1 - 2 * factor, 2 * factor) / factor)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = np.where(t <= 1, near, far)
    weights /= weights.sum()
    return torch.from_numpy(np.outer(weights, weights)).float()


def identity() -> Tensor:
    """The kernel of one pixel: no blur."""
    return torch.ones(1, 1)


def read_kernels(path: Path) -> list[Tensor]:
    """The blur kernels of a file: a NumPy matrix (.npy; three axes: several), several (.npz), or one 8-bit image.

    Raises:
        ValueError: no such file, one that cannot be read, or a kernel that `checked` refuses; naming the file.
    """
    if not path.is_file():
        raise ValueError(f"data.kernels: there is no file {path}")
    if path.suffix not in (".npy", ".npz"):
        return [checked(path.name, read_gray(path)[0].numpy())]
    try:
        content = np.load(path)
        found = dict(content) if path.suffix == ".npz" else {f"{i + 1}": k for i, k in enumerate(_several(content))}
    except (ValueError, OSError, BadZipFile) as error:
        raise ValueError(f"{path} is not a NumPy file of matrices, or it is damaged: {error}") from error
    return [checked(f"{path.name}, kernel {name}", kernel) for name, kernel in found.items()]


def _several(kernels: np.ndarray) -> np.ndarray:
    return kernels if kernels.ndim == 3 else kernels[None]


def levin_kernels(path: Path) -> list[Tensor]:
    """The eight kernels of Levin et al. 2009, of Levin09.mat (MATLAB 7.3: HDF5, matrices transposed)."""
    with open_hdf5(path) as file:
        references = np.asarray(file["kernels"]).ravel()
        return [checked(f"{path.name}, kernel {i + 1}", np.asarray(file[r]).T) for i, r in enumerate(references)]
