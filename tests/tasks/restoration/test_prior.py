"""tasks.restoration.prior: the transform, the proximal map against a search, and the distance to stationarity."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.restoration.prior import LpDct, shrink, stationarity


def test_the_transform_is_the_orthonormal_dct() -> None:
    x = torch.rand(2, 1, 6, 9, dtype=torch.float64)
    rows, both = LpDct(1.0, axes=1), LpDct(1.0, axes=2)
    np.testing.assert_allclose(rows.transform(x), scipy.fft.dct(x.numpy(), norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(both.transform(x), scipy.fft.dctn(x.numpy(), axes=(2, 3), norm="ortho"), atol=1e-12)
    for prior in (rows, both):
        assert torch.allclose(prior.inverse(prior.transform(x)), x)


@given(st.floats(-3, 3), st.floats(0.01, 2), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_the_proximal_map_is_a_global_minimiser(c: float, t: float, p: float) -> None:
    def energy(s: torch.Tensor) -> torch.Tensor:
        return t * s.abs().pow(p) + (s - c).square() / 2

    found = shrink(torch.tensor([c], dtype=torch.float64), t, p)
    grid = torch.cat([torch.linspace(-3.5, 3.5, 20001, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    assert float(energy(found)) <= float(energy(grid).min()) + 1e-9


def test_without_weight_nothing_shrinks() -> None:
    v = torch.randn(1, 1, 4, 4)
    for p in (0.8, 1.0):
        assert torch.allclose(LpDct(0.0, p).prox(v, 1.0), v, atol=1e-6)


@pytest.mark.parametrize("p", [0.8, 1.0])
def test_stationarity_of_a_denoising_problem(p: float) -> None:
    # Φ = ½‖x − v‖² + g has its minimiser at prox(v)
    v = torch.randn(2, 1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prior = LpDct(0.5, p, axes=2)
    x = prior.prox(v, 1.0)
    assert 0 < int((prior.transform(x).abs() < 1e-9).sum()) < x.numel()  # zeros and others
    assert stationarity(x - v, x, prior).max() < 1e-9
    moved = x + 0.01
    assert stationarity(moved - v, moved, prior).min() > 1e-3


@pytest.mark.parametrize("options", [{"weight": -1.0}, {"weight": 1.0, "p": 0.0}, {"weight": 1.0, "p": 1.5}])
def test_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="the prior's"):
        LpDct(**options)
    with pytest.raises(ValueError, match="axes"):
        LpDct(1.0, axes=3)
