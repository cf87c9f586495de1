"""The learned energy: its closed forms against autograd, its layer as a fixed point, unrolled and implicit gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fpi
from tasks.flow.energy import HornSchunck, energy_layer
from tasks.flow.operators import warp
from tasks.flow.unet import UNet

SIZE = (9, 11)


@pytest.fixture(autouse=True)
def double() -> None:
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
    assert not list(p for n, p in energy(learn=False).named_parameters() if "smooth" in n)


@pytest.mark.parametrize("name", ["smoothness", "scale", "image_range"])
def test_positive_options(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be > 0"):
        HornSchunck(nn.Identity(), **{name: 0.0})


def converged(adjoint: fpi.Adjoint, max_iter: int = 500) -> fpi.FPI_GD:
    torch.manual_seed(1)
    solver = fpi.Picard(criterion=fpi.Relative(1e-26), max_iter=max_iter, on_failure="ignore")
    return energy_layer(energy(0.02), 1.0, solver, adjoint)


def test_the_layer_ends_at_a_critical_point_of_less_energy() -> None:
    layer, pair, start = converged(fpi.BackwardFPI()), frames(), torch.randn(2, 2, *SIZE).double()
    flow = layer(pair, x0=start)
    assert layer.info is not None and layer.info.converged.all()
    e = layer.g.energy
    injected = e.inject(pair)
    assert e.gradient(flow, injected).abs().max() < 1e-9
    assert (e(flow, injected) < e(start, injected)).all()


def test_implicit_and_unrolled_gradients_agree_at_a_converged_flow() -> None:
    pair, start = frames(1), torch.zeros(1, 2, *SIZE).double()
    gradients = []
    for adjoint in (fpi.BackwardFPI(fpi.Picard(criterion=fpi.Relative(1e-26), max_iter=2000)), fpi.Unrolled()):
        layer = converged(adjoint)
        loss = layer(pair, x0=start).square().sum()
        gradients.append(torch.autograd.grad(loss, [p for p in layer.parameters() if p.requires_grad]))
    for implicit, unrolled in zip(*gradients, strict=True):
        torch.testing.assert_close(implicit, unrolled, rtol=1e-5, atol=1e-9)


def test_unet_keeps_any_size() -> None:
    net = UNet((2, 3, 4), 5)
    assert net(torch.rand(1, 3, 13, 18)).shape == (1, 5, 13, 18)
    with pytest.raises(ValueError, match="must be positive"):
        UNet((2, 0), 5)
