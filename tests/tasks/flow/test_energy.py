"""The learned energy: its closed forms against autograd, and its layer as a minimum with the minimum's gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.flow.energy import HornSchunck, energy_layer
from tasks.flow.operators import warp
from tasks.flow.unet import UNet

SIZE = (9, 11)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def frames(batch: int = 2) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 3, *SIZE).double(), torch.rand(batch, 3, *SIZE).double()


def energy(scale: float = 0.01, learn: bool = True) -> HornSchunck:
    return HornSchunck(
        UNet((3, 4, 5), 4), smoothness=3.0, learn_smoothness=learn, scale=scale, image_range=2.0
    ).double()


def test_the_energy_is_equation_6_2() -> None:
    e, (first, second), flow = energy(), frames(), torch.randn(2, 2, *SIZE).double()
    j1, j2 = e.features(2 * first), e.features(2 * second)
    data = (j1 - warp(j2, flow, "border")).square().sum((1, 2, 3))
    rough = (flow[..., 1:] - flow[..., :-1]).square().sum((1, 2, 3))
    rough = rough + (flow[:, :, 1:] - flow[:, :, :-1]).square().sum((1, 2, 3))
    torch.testing.assert_close(e(flow, e.inject((first, second))), 0.01 * (data + 3 * rough))


def test_the_gradient_is_that_of_autograd() -> None:
    e, flow = energy(), (3 * torch.randn(2, 2, *SIZE).double()).requires_grad_()
    injected = e.inject(frames())
    value = e(flow, injected)
    (expected,) = torch.autograd.grad(value.sum(), flow, create_graph=True)
    torch.testing.assert_close(e.gradient(flow, injected), expected, rtol=1e-10, atol=1e-12)
    both = e.value_and_gradient(flow, injected)
    torch.testing.assert_close(both, (value, expected), rtol=1e-10, atol=1e-12)


def test_second_derivatives_of_the_gradient() -> None:
    e, flow = energy(), (0.3 + torch.rand(1, 2, 4, 5).double() / 3).requires_grad_()  # away from the pixels
    injected = [j.detach().requires_grad_() for j in e.inject(tuple(f[:1, :, :4, :5] for f in frames()))]
    assert torch.autograd.gradcheck(lambda x, a, b: e.gradient(x, (a, b)), (flow, *injected))


def test_the_gradient_reaches_the_learned_smoothness() -> None:
    e, flow = energy(), torch.randn(2, 2, *SIZE).double()
    (found,) = torch.autograd.grad(e.gradient(flow, e.inject(frames())).square().sum(), e.log_smoothness)
    assert found != 0
    assert not [n for n, _ in energy(learn=False).named_parameters() if "smooth" in n]


@pytest.mark.parametrize("name", ["smoothness", "scale", "image_range"])
def test_positive_options(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be > 0"):
        HornSchunck(nn.Identity(), **{name: 0.0})


def smooth_frames() -> tuple[Tensor, Tensor]:
    first, second = torch.rand(2, 2, 3, 4, 4).double()
    return tuple(F.interpolate(f, size=SIZE, mode="bicubic", align_corners=True) for f in (first, second))  # type: ignore[return-value]


def converging_layer() -> fpi.FPI_GD:
    """At each of these minima the energy is smooth: no sample lies on a pixel, where its slope jumps."""
    e = HornSchunck(UNet((3, 4, 5), 4), smoothness=1.0, learn_smoothness=True, scale=0.05, image_range=1.0).double()
    backward = fpi.ConjugateGradient(criterion=fpi.Relative(1e-26), max_iter=2000)
    solver = fpi.LBFGS(criterion=fpi.Relative(1e-26), max_iter=3000)
    return energy_layer(e, 1.0, solver, fpi.BackwardFPI(backward))


def test_the_layer_ends_at_a_critical_point_of_less_energy() -> None:
    pair, layer = smooth_frames(), converging_layer()
    start = torch.full((2, 2, *SIZE), 0.4).double()
    flow = layer(pair, x0=start)
    assert layer.info is not None and layer.info.converged.all()
    e: Any = layer.g.energy
    injected = e.inject(pair)
    assert e.gradient(flow, injected).abs().max() < 1e-9
    assert (e(flow, injected) < e(start, injected)).all()


def test_the_implicit_gradient_is_that_of_the_minimum() -> None:
    pair, layer = smooth_frames(), converging_layer()
    e: Any = layer.g.energy
    parameters = [e.log_smoothness, e.features.head.weight]

    def loss() -> Tensor:
        return layer(pair, x0=torch.full((2, 2, *SIZE), 0.4).double()).square().sum()

    found = torch.autograd.grad(loss(), parameters)
    for parameter, gradient in zip(parameters, found, strict=True):
        direction, step = torch.randn_like(parameter), 1e-4
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
                values.append(loss())
                parameter -= sign * step * direction
        torch.testing.assert_close(
            (gradient * direction).sum(), (values[0] - values[1]) / (2 * step), rtol=1e-4, atol=1e-7
        )


def test_unet_keeps_any_size() -> None:
    net = UNet((2, 3, 4), 5)
    assert net(torch.rand(1, 3, 13, 18)).shape == (1, 5, 13, 18)
    with pytest.raises(ValueError, match="must be positive"):
        UNet((2, 0), 5)
