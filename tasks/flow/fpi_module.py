"""What is attached to FlowNetS' finest flow (6.4.2): the FPI layer, or a feedforward module of its structure."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import fpi
from tasks.flow.flownet import FlowNetS

CHANNELS = 4  # of g's hidden layer: x and z have two each


class Refined(nn.Module):
    """FlowNetS whose finest flow z becomes z + refinement(z); the coarser flows are FlowNetS' own.

    Args:
        network: FlowNetS.
        refinement: maps z, (batch, 2, height/4, width/4), to a tensor of that shape.
    """

    def __init__(self, network: FlowNetS, refinement: nn.Module) -> None:
        super().__init__()
        self.network, self.refinement = network, refinement

    def forward(self, frame1: Tensor, frame2: Tensor) -> list[Tensor]:
        """As `FlowNetS.forward`."""
        z, *coarser = self.network(frame1, frame2)
        return [z + self.refinement(z), *coarser]

    @property
    def info(self) -> fpi.SolveInfo | None:
        """Diagnostics of the latest solve; None for a refinement without iterations."""
        return getattr(self.refinement, "info", None)


def fpi_refinement(solver: fpi.Solver, adjoint: fpi.Adjoint, init_scale: float = 0.01) -> fpi.FPI_NN:
    """x̂ = g(x̂, z) with g = convolution (4 → 4, stride 2), LeakyReLU, deconvolution (4 → 2, stride 2) on [x, z].

    278 parameters, below 0.01 % of FlowNetS'. The kernels (3 and 4) and the activation (FlowNetS') are not stated.

    Args:
        solver, adjoint: of the layer.
        init_scale: factor on PyTorch's default initial weights (thesis: 0.01): g is then almost constant in x, and
            the layer starts as a contraction.
    """
    return fpi.FPI_NN(_g(2 * 2, init_scale), solver=solver, adjoint=adjoint)


def feedforward_refinement(init_scale: float = 0.01) -> nn.Sequential:
    """g's structure without the iteration, a function of z alone: g(0, z)."""
    return _g(2, init_scale)


def refined(network: FlowNetS, refinement: nn.Module | None = None) -> nn.Module:
    """`network` with `refinement` attached, or alone."""
    return network if refinement is None else Refined(network, refinement)


def _g(inputs: int, init_scale: float) -> nn.Sequential:
    layers: list[Any] = [
        nn.Conv2d(inputs, CHANNELS, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(CHANNELS, 2, 4, stride=2, padding=1),
    ]
    net = nn.Sequential(*layers)
    fpi.contraction.scale_parameters_(net, init_scale)
    return net
