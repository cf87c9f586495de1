"""The learned energy: its closed forms against autograd, and its layer as a minimum with the minimum's gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.flow.energy import EnergyLayer, HornSchunck
from tasks.flow.operators import warp
from tasks.flow.splines import smooth
from tasks.flow.unet import UNet

SIZE = (9, 11)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def frames(batch: int = 2) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 3, *SIZE).double(), torch.rand(batch, 3, *SIZE).double()


def energy(warping: Any = "bilinear", learn: bool = True) -> HornSchunck:
    return HornSchunck(
        UNet((3, 4, 5), 4), smoothness=3.0, learn_smoothness=learn, scale=0.01, image_range=2.0, warping=warping
    ).double()


def test_the_energy_is_equation_6_2() -> None:
    e, (first, second), flow = energy(), frames(), torch.randn(2, 2, *SIZE).double()
    j1, j2 = e.features(2 * first), e.features(2 * second)
    data = (j1 - warp(j2, flow, "border")).square().sum((1, 2, 3))
    rough = (flow[..., 1:] - flow[..., :-1]).square().sum((1, 2, 3))
    rough = rough + (flow[:, :, 1:] - flow[:, :, :-1]).square().sum((1, 2, 3))
    torch.testing.assert_close(e(flow, e.inject((first, second))), 0.01 * (data + 3 * rough))


def test_splines_take_the_place_of_bilinear_samples() -> None:
    e, (first, second) = energy("spline"), frames()
    flow = torch.zeros(2, 2, *SIZE).double()
    difference = smooth(e.features(2 * first)) - smooth(e.features(2 * second))
    torch.testing.assert_close(e(flow, e.inject((first, second))), 0.01 * difference.square().sum((1, 2, 3)))


@pytest.mark.parametrize("warping", ["bilinear", "spline"])
def test_the_gradient_is_that_of_autograd(warping: str) -> None:
    e, flow = energy(warping), (3 * torch.randn(2, 2, *SIZE).double()).requires_grad_()
    injected = e.inject(frames())
    value = e(flow, injected)
    (expected,) = torch.autograd.grad(value.sum(), flow, create_graph=True)
    torch.testing.assert_close(e.gradient(flow, injected), expected, rtol=1e-10, atol=1e-12)
    both = e.value_and_gradient(flow, injected)
    torch.testing.assert_close(both, (value, expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("warping", "least"), [("bilinear", 0.3), ("spline", 0.0)])  # away from the pixels; anywhere
def test_second_derivatives_of_the_gradient(warping: str, least: float) -> None:
    e, flow = energy(warping), (least + torch.rand(1, 2, 4, 5).double() / 3).requires_grad_()
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


def test_warping_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="'bilinear' or 'spline', got 'bicubic'"):
        HornSchunck(nn.Identity(), warping="bicubic")  # type: ignore[arg-type]


def smooth_frames() -> tuple[Tensor, Tensor]:
    first, second = torch.rand(2, 2, 3, 4, 4).double()
    return tuple(F.interpolate(f, size=SIZE, mode="bicubic", align_corners=True) for f in (first, second))  # type: ignore[return-value]


def converging_layer(warping: Any, curvature: float | None) -> EnergyLayer:
    """At the minima of the bilinear one, too, the energy is smooth: no sample lies on a pixel."""
    e = HornSchunck(
        UNet((3, 4, 5), 4), smoothness=1.0, learn_smoothness=True, scale=0.05, image_range=1.0, warping=warping
    ).double()
    backward = fpi.BiCGStab(criterion=fpi.Relative(1e-26), max_iter=2000)
    solver = fpi.LBFGS(criterion=fpi.Relative(1e-26), max_iter=3000)
    return EnergyLayer(e, 1.0, solver, fpi.BackwardFPI(backward), curvature)


LAYERS = pytest.mark.parametrize(("warping", "curvature"), [("bilinear", None), ("spline", None), ("spline", 0.1)])


@LAYERS
def test_the_layer_ends_at_a_critical_point_of_less_energy(warping: str, curvature: float | None) -> None:
    pair, layer = smooth_frames(), converging_layer(warping, curvature)
    start = torch.full((2, 2, *SIZE), 0.4).double()
    flow = layer(pair, start)
    assert layer.info is not None and layer.info.converged.all()
    g: Any = layer.g
    e = g.energy if curvature is None else g.energy.energy
    injected = e.inject(pair)
    assert e.gradient(flow, injected).abs().max() < 1e-9
    assert (e(flow, injected) < e(start, injected)).all()


def test_the_metric_does_not_move_the_minimum() -> None:
    pair, start = smooth_frames(), torch.full((2, 2, *SIZE), 0.4).double()
    flows = []
    for curvature in (None, 0.1, 3.0):
        torch.manual_seed(1)
        flows.append(converging_layer("spline", curvature)(pair, start))
    torch.testing.assert_close(flows[0], flows[1], rtol=0, atol=1e-8)
    torch.testing.assert_close(flows[0], flows[2], rtol=0, atol=1e-8)


@LAYERS
def test_the_implicit_gradient_is_that_of_the_minimum(warping: str, curvature: float | None) -> None:
    pair, layer = smooth_frames(), converging_layer(warping, curvature)
    parameters = dict(layer.named_parameters())
    parameters = {name: p for name, p in parameters.items() if "log_smoothness" in name or "head.weight" in name}
    assert len(parameters) == 2

    def loss() -> Tensor:
        return layer(pair, torch.full((2, 2, *SIZE), 0.4).double()).square().sum()

    found = torch.autograd.grad(loss(), list(parameters.values()))
    for parameter, gradient in zip(parameters.values(), found, strict=True):
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


@pytest.mark.parametrize(("warping", "converges"), [("bilinear", False), ("spline", True)])
def test_a_minimum_on_a_pixel_is_a_fixed_point_of_splines_alone(warping: Any, converges: bool) -> None:
    """Frame 1 is brighter than frame 2's brightest column: every sample wants to lie on it, where E has an edge."""
    e = HornSchunck(nn.Identity(), smoothness=0.01, scale=0.02, image_range=1.0, warping=warping).double()
    column = torch.tensor([0.0, 0.4, 0.8, 1.0, 0.8, 0.4, 0.0]).double()
    pair = (torch.full((1, 3, 4, 7), 1.5).double(), column.expand(1, 3, 4, 7))
    solver = fpi.LBFGS(criterion=fpi.Relative(1e-16), max_iter=500, on_failure="ignore")
    layer = EnergyLayer(e, 1.0, solver)
    layer(pair, (3 - torch.arange(7.0)).mul(0.7).expand(1, 2, 4, 7).double())
    assert layer.info is not None and bool(layer.info.converged.all()) == converges


def test_unet_keeps_any_size() -> None:
    net = UNet((2, 3, 4), 5)
    assert net(torch.rand(1, 3, 13, 18)).shape == (1, 5, 13, 18)
    with pytest.raises(ValueError, match="must be positive"):
        UNet((2, 0), 5)
