"""tasks.vae.frechet: against pytorch-fid's formula, and where that one fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tasks.vae.frechet import Moments, frechet_distance


def moments(features: Tensor, batch: int = 1000) -> Moments:
    found = Moments()
    for part in features.split(batch):
        found.update(part)
    return found


def samples(count: int, dimensions: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(9))
    return torch.randn(count, dimensions, generator=generator) @ mix + shift


def test_the_same_number_as_pytorch_fid() -> None:
    from pytorch_fid.fid_score import calculate_frechet_distance

    a, b = samples(400, 12, 0), 1.3 * samples(500, 12, 1, shift=0.7)
    statistics = [(x.double().mean(0).numpy(), np.cov(x.double().numpy(), rowvar=False)) for x in (a, b)]
    expected = calculate_frechet_distance(*statistics[0], *statistics[1])
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_add_up_whatever_their_size(batch: int) -> None:
    features = samples(53, 5, 0, shift=1e4)  # a common mean that would cost single precision its digits
    found = moments(features, batch)
    assert found.count == 53
    expected = np.cov(features.double().numpy(), rowvar=False)
    np.testing.assert_allclose(found.covariance.numpy(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.mean.numpy(), features.double().mean(0).numpy(), rtol=1e-12)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    found = Moments()
    sizes = set()
    for _ in range(20):
        found.update(torch.randn(50, 8))
        sizes.add(sum(value.numel() for value in vars(found).values() if isinstance(value, Tensor)))
    assert sizes == {8 + 64} and found.count == 1000


@pytest.mark.parametrize("count", [2, 5, 20])
def test_fewer_samples_than_dimensions_give_a_real_distance(count: int) -> None:
    a, b = samples(count, 40, 0), samples(count, 40, 1)
    distance = frechet_distance(moments(a), moments(b))
    assert np.isfinite(distance) and distance > 0
    assert distance == pytest.approx(frechet_distance(moments(b), moments(a)), rel=1e-6)
    assert frechet_distance(moments(a), moments(a)) == pytest.approx(0, abs=1e-6 * distance)


def test_a_shift_is_its_squared_length() -> None:
    a = samples(300, 6, 0)
    assert frechet_distance(moments(a), moments(a + 2)) == pytest.approx(24, rel=1e-5)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(moments(samples(1, 3, 0)), moments(samples(5, 3, 1)))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(Moments(), moments(samples(5, 3, 1)))
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        frechet_distance(moments(samples(5, 3, 0)), moments(samples(5, 4, 1)))
    with pytest.raises(ValueError, match="not finite"):
        Moments().update(torch.tensor([[1.0, float("nan")]]))
