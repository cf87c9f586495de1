"""Small float64 problems that every test of the core shares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import fpi

TIGHT = fpi.Relative(1e-28)


class SmoothEnergy(nn.Module):
    """A strongly convex, smooth energy on [x, z] that leaves its gradient to autograd."""

    def __init__(self, x: int, z: int) -> None:
        super().__init__()
        self.linear = nn.Linear(x + z, 6)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        hidden = nn.functional.softplus(self.linear(torch.cat([x, z], 1)))
        return 0.5 * x.square().sum(1) + 0.3 * hidden.square().sum(1)


def picard(**options: object) -> fpi.Picard:
    return fpi.Picard(criterion=TIGHT, max_iter=2000, **options)  # type: ignore[arg-type]


def make_nn(x: int = 4, z: int = 3, **options: object) -> fpi.FPI_NN:
    net = nn.Sequential(nn.Linear(x + z, 7), nn.Tanh(), nn.Linear(7, x), nn.Tanh()).double()
    fpi.contraction.scale_parameters_(net, 0.8)
    options = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard())} | options
    return fpi.FPI_NN(net, **options)


def make_gd(x: int = 4, z: int = 3, **options: object) -> fpi.FPI_GD:
    options = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard())} | options
    return fpi.FPI_GD(SmoothEnergy(x, z).double(), step_size=0.4, state_shape=(x,), **options)  # type: ignore[arg-type]
