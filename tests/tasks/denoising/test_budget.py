"""The certified norm of a zero-padded convolution, and the projection onto the budget."""

from __future__ import annotations

import pytest
import torch

import fpi
from tasks.denoising.budget import convolution_norm, limit_lipschitz_
from tasks.denoising.models import two_convolutions


def dense_norm(weight: torch.Tensor, size: int) -> float:
    """The operator norm on size × size images, by the matrix itself."""
    units = torch.eye(weight.shape[1] * size * size).reshape(-1, weight.shape[1], size, size)
    out = torch.nn.functional.conv2d(units, weight, padding=weight.shape[-1] // 2).flatten(1)
    return float(torch.linalg.matrix_norm(out, 2))


@pytest.mark.parametrize("shape", [(5, 1, 3, 3), (1, 5, 3, 3), (3, 1, 5, 5), (1, 1, 1, 1)])
def test_the_bound_is_certified_and_nearly_tight(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    weight = torch.randn(shape)
    bound, true = convolution_norm(weight), dense_norm(weight, 16)
    assert true <= bound * (1 + 1e-6)
    assert bound <= 1.1 * true  # of larger images it is closer yet


def test_between_the_samples_the_bound_still_holds() -> None:
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1] = torch.tensor([1.0, 0.3, -1.0])
    frequencies = torch.linspace(0, 2 * torch.pi, 100_001)
    response = (weight[0, 0, 1].to(torch.complex64) * torch.exp(1j * frequencies[:, None] * torch.arange(3.0))).sum(1)
    assert float(response.abs().max()) <= convolution_norm(weight)


def test_two_sided_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="one channel"):
        convolution_norm(torch.zeros(2, 3, 3, 3))


def test_the_projection_touches_the_state_path_alone_and_keeps_the_budget() -> None:
    torch.manual_seed(0)
    layer = fpi.FPI_NN(two_convolutions(2, 8, 3, init_scale=3.0))
    before = {name: value.clone() for name, value in layer.named_parameters()}
    old = limit_lipschitz_(layer, 0.9)
    first, _, last = layer.g.net  # type: ignore[misc]
    assert old > 0.9
    assert convolution_norm(first.weight[:, :1]) * convolution_norm(last.weight) == pytest.approx(0.9)
    torch.testing.assert_close(first.weight[:, 1:], before["g.net.0.weight"][:, 1:])
    torch.testing.assert_close(last.weight, before["g.net.2.weight"])
    z = torch.randn(2, 1, 9, 9)
    radius = fpi.contraction.spectral_radius(layer.g, layer(z).detach(), layer.g.inject(z))  # type: ignore[operator]
    assert radius.max() <= 0.9
    unchanged = first.weight.clone()
    limit_lipschitz_(layer, 5.0)
    torch.testing.assert_close(first.weight, unchanged)
