"""FlowNetS, its FPI layer and the feedforward module of its structure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fpi
from tasks.flow.flownet import FlowNetS, estimate
from tasks.flow.fpi_module import Refined, feedforward_refinement, fpi_refinement, refined

PAPER = 38_675_536  # parameters of FlowNetS: 38.68 million


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def layer(tol: float = 1e-13) -> fpi.FPI_NN:
    solver = fpi.Picard(criterion=fpi.Relative(tol, scope="batch"), max_iter=50)
    return fpi_refinement(solver, fpi.BackwardFPI(solver))


def test_the_network_is_flownets_and_the_layer_adds_less_than_a_hundredth_of_a_percent() -> None:
    with torch.device("meta"):
        network = FlowNetS()
    assert count(network) == PAPER
    added = count(layer())
    assert added == 278 and added / PAPER < 1e-4
    assert count(feedforward_refinement()) == 278 - 4 * 2 * 9  # without x's columns


def test_five_scales_of_flow() -> None:
    torch.manual_seed(0)
    flows = FlowNetS(0.05)(torch.rand(2, 3, 64, 128), torch.rand(2, 3, 64, 128))
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 64 // n, 128 // n) for n in (4, 8, 16, 32, 64)]
    with pytest.raises(ValueError, match="multiples of 64, got 60 x 64"):
        FlowNetS(0.05)(torch.rand(1, 3, 60, 64), torch.rand(1, 3, 60, 64))


def test_estimates_have_the_frames_size_in_pixels() -> None:
    torch.manual_seed(0)
    network = FlowNetS(0.05)
    frame1, frame2 = torch.rand(1, 3, 70, 100), torch.rand(1, 3, 70, 100)
    assert estimate(network, frame1, frame2).shape == (1, 2, 70, 100)
    with pytest.raises(ValueError, match="one size"):
        estimate(network, frame1, frame2[..., :64])
    whole = torch.rand(2, 1, 3, 64, 64)
    flow2 = network(*whole)[0]
    torch.testing.assert_close(estimate(network, *whole).mean(), 20 * flow2.mean(), rtol=1e-3, atol=1e-3)


def test_the_refined_flow_is_z_plus_the_fixed_point() -> None:
    torch.manual_seed(0)
    network = FlowNetS(0.05)
    model = refined(network, layer())
    assert isinstance(model, Refined) and refined(network) is network
    pair = torch.rand(2, 2, 3, 64, 64)
    z, *coarser = network(*pair)
    flows = model(*pair)
    x = flows[0] - z
    g = model.refinement.g.net
    torch.testing.assert_close(x, g(torch.cat([x, z], dim=1)), rtol=1e-4, atol=1e-7)
    assert all(torch.equal(a, b) for a, b in zip(flows[1:], coarser, strict=True))
    assert model.info is not None and model.info.converged.all()


def test_float32_reaches_the_threshold_of_the_thesis_up_to_a_contraction_of_nine_tenths() -> None:
    torch.manual_seed(0)
    for gain in (1.0, 30.0, 60.0):  # of the initial weights, ×0.01
        refinement = layer()
        fpi.contraction.scale_parameters_(refinement, gain)
        z = 0.5 * torch.randn(2, 2, 32, 32)
        refinement(z)
        assert refinement.info is not None and refinement.info.converged.all(), f"gain {gain}: {refinement.info}"


def test_training_reaches_every_parameter_of_the_layer() -> None:
    torch.manual_seed(0)
    model = refined(FlowNetS(0.05), layer())
    model(*torch.rand(2, 1, 3, 64, 64))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.refinement.parameters())
