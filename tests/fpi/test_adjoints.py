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
