"""tasks.restoration.operators: against dense linear algebra, adjointness, closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from torch import Tensor

from tasks.restoration.kernels import camera_shake
from tasks.restoration.operators import Problem, degrade, make_problem
from tests.tasks.restoration.problems import make

KINDS = ["deblur", "denoise", "sr4"]
SIZES = [(16, 20), (20, 16)]


def dense(problem: Problem) -> Tensor:
    """A of the first image as a matrix."""
    first = Problem(problem.y[:1], problem.otf[:1])
    pixels = first.size[0] * first.size[1]
    unit = torch.eye(pixels, dtype=torch.float64).reshape(pixels, 1, *first.size)
    many = Problem(first.y.expand(pixels, -1, -1, -1), first.otf)
    return many.apply(unit).flatten(1).T


def test_the_blur_is_a_circular_convolution() -> None:
    kernel, image = camera_shake(3, 5).double(), torch.rand(1, 1, 9, 11, dtype=torch.float64)
    blurred = degrade(image, [kernel], torch.zeros_like(image)).y
    expected = convolve(image[0, 0].numpy(), kernel.numpy(), mode="wrap")
    np.testing.assert_allclose(blurred[0, 0].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_adjoint_gradient_and_lipschitz_constant(kind: str, size: tuple[int, int]) -> None:
    problem, truth = make(kind, size=size)
    a, x = dense(problem), truth[:1].flatten()
    y = problem.y[0].flatten()
    assert torch.allclose(problem.apply(truth)[0].flatten(), a @ x, atol=1e-7)
    assert torch.allclose(problem.adjoint(problem.y)[0].flatten(), a.T @ y, atol=1e-7)
    assert torch.allclose(problem.gradient(truth)[0].flatten(), a.T @ (a @ x - y), atol=1e-7)
    assert float(problem.fidelity(truth)[0]) == pytest.approx(float((a @ x - y).square().sum() / 2))
    assert float(problem.lipschitz()[0]) == pytest.approx(float(torch.linalg.matrix_norm(a, 2) ** 2), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_closed_form_solves_the_normal_equations(kind: str, size: tuple[int, int]) -> None:
    problem, truth = make(kind, size=size)
    filters = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = 0.1 + torch.fft.rfft2(torch.nn.functional.pad(filters, (0, size[1] - 5, 0, size[0] - 5))).abs().square()
    x = problem.solve(truth, weight)
    metric = problem.image(weight * problem.spectrum(x))
    assert torch.allclose(problem.adjoint(problem.apply(x)) + metric, truth, atol=1e-8)


def test_odd_sizes() -> None:
    problem, truth = make(size=(15, 17))
    assert problem.size == (15, 17)
    x = problem.solve(truth, torch.tensor(0.3, dtype=torch.float64))
    assert torch.allclose(problem.adjoint(problem.apply(x)) + 0.3 * x, truth, atol=1e-8)


def test_what_is_refused() -> None:
    image = torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="9 x 9 pixels, the image only 8 x 8"):
        make_problem(image, [camera_shake(0, 9)])
    with pytest.raises(ValueError, match="must be odd.*got 4 x 3"):
        make_problem(image, [torch.ones(4, 3) / 12])
    with pytest.raises(ValueError, match="must be gray.*one by one"):
        make_problem(torch.rand(1, 3, 8, 8), [camera_shake(0, 3)])
    with pytest.raises(ValueError, match="2 kernels for 1"):
        make_problem(image, [camera_shake(0, 3)] * 2)
    with pytest.raises(ValueError, match="cannot be divided by 4"):
        degrade(torch.rand(1, 1, 10, 8), [camera_shake(0, 3)], torch.zeros(1, 1, 3, 2), 4)
