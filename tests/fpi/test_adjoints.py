"""The approximate adjoints are what they claim to be; the exact ones agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import NEARLY, make_nn, picard


def gradient(adjoint: fpi.Adjoint, z: Tensor, layer: fpi.FPILayer) -> Tensor:
    layer.adjoint = adjoint
    return torch.autograd.grad(layer(z).square().sum(), z)[0]


def test_exact_adjoints_agree(make_layer, z: Tensor) -> None:
    layer = make_layer()
    exact = gradient(fpi.BackwardFPI(picard()), z, layer)
    for other in (fpi.Dense(), fpi.NormalCG(criterion=NEARLY), fpi.Unrolled(), fpi.Neumann(400), fpi.Dense(terms=400)):
        torch.testing.assert_close(gradient(other, z, layer), exact, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "name", ["Picard", "Anderson", "Broyden", "BiCGStab", "ConjugateGradient", "ConjugateResidual"]
)
@pytest.mark.parametrize("size", [1e-10, 1e-18])
def test_tiny_gradients_are_solved_as_others_are(name: str, size: float) -> None:
    """Those of saturated outputs: float32 has no squares of them."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20, 20, generator=generator)
    weight = weight + weight.T  # for ConjugateResidual
    weight *= 0.9 / torch.linalg.matrix_norm(weight, 2)
    z = torch.randn(3, 20, generator=generator).requires_grad_()
    solver = getattr(fpi, name)(criterion=fpi.Relative(1e-8), max_iter=100, on_failure="raise")

    def backward(scale: float) -> Tensor:
        layer = fpi.FPILayer(lambda x, z: torch.tanh(x @ weight + z), adjoint=fpi.BackwardFPI(solver))
        return torch.autograd.grad(scale * layer(z, x0=torch.zeros(3, 20)).sum(), z)[0]

    torch.testing.assert_close(backward(size) / size, backward(1.0), rtol=1e-3, atol=1e-3)


def test_jacobian_free_is_one_term_and_differs(make_layer, z: Tensor) -> None:
    layer = make_layer()
    free, exact = gradient(fpi.JacobianFree(), z, layer), gradient(fpi.Dense(), z, layer)
    torch.testing.assert_close(free, gradient(fpi.Neumann(1), z, layer))
    assert (free - exact).norm() > 1e-3 * exact.norm()
    assert torch.nn.functional.cosine_similarity(free.flatten(), exact.flatten(), 0) > 0


@pytest.mark.parametrize("terms", [1, 2, 3, 7, 64, 1000])
def test_dense_terms_are_the_neumann_sum(terms: int, z: Tensor) -> None:
    torch.manual_seed(0)
    layer = make_nn()
    torch.testing.assert_close(gradient(fpi.Dense(terms=terms), z, layer), gradient(fpi.Neumann(terms), z, layer))


def test_neumann_needs_a_positive_number() -> None:
    with pytest.raises(ValueError, match="terms"):
        fpi.Neumann(0)
