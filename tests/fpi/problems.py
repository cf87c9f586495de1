"""Small float64 problems that every test of the core shares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import fpi

DOUBLE = torch.float64
TIGHT = fpi.Relative(1e-28)
NEARLY = fpi.Relative(1e-26)  # what accelerated methods reach before rounding holds them up

SOLVERS: dict[str, fpi.Solver] = {
    "picard": fpi.Picard(criterion=TIGHT, max_iter=3000),
    "damped": fpi.Picard(criterion=TIGHT, max_iter=6000, damping=0.6),
    "anderson": fpi.Anderson(criterion=NEARLY, max_iter=3000),
    "broyden": fpi.Broyden(criterion=NEARLY, max_iter=3000),
}
EXACT: dict[str, fpi.Adjoint] = {
    "BackwardFPI": fpi.BackwardFPI(SOLVERS["picard"]),
    "BackwardFPI-anderson": fpi.BackwardFPI(SOLVERS["anderson"]),
    "BackwardFPI-broyden": fpi.BackwardFPI(SOLVERS["broyden"]),
    "NormalCG": fpi.NormalCG(criterion=NEARLY),
    "Dense": fpi.Dense(),
}


class SmoothEnergy(nn.Module):
    """A strongly convex, smooth energy on [x, z] that leaves its gradient to autograd."""

    def __init__(self, x: int, z: int, hidden: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(x + z, hidden)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        hidden = nn.functional.softplus(self.linear(torch.cat([x, z], 1)))
        return 0.5 * x.square().sum(1) + 0.3 * hidden.square().sum(1)


def picard(**options: object) -> fpi.Picard:
    return fpi.Picard(criterion=TIGHT, max_iter=2000, **options)  # type: ignore[arg-type]


def make_nn(x: int = 4, z: int = 3, hidden: int = 7, **options: object) -> fpi.FPI_NN:
    net = nn.Sequential(nn.Linear(x + z, hidden), nn.Tanh(), nn.Linear(hidden, x), nn.Tanh()).double()
    fpi.contraction.scale_parameters_(net, 0.8)
    options = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard())} | options
    return fpi.FPI_NN(net, **options)


def make_gd(x: int = 4, z: int = 3, hidden: int = 6, **options: object) -> fpi.FPI_GD:
    options = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard())} | options
    return fpi.FPI_GD(SmoothEnergy(x, z, hidden).double(), step_size=0.4, state_shape=(x,), **options)  # type: ignore[arg-type]


def contraction(d: int, norm: float, seed: int = 0) -> Tensor:
    """A random (d, d) matrix of the given 2-norm."""
    a = torch.randn(d, d, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))
    return norm * a / torch.linalg.matrix_norm(a, 2)


def cosine(x: Tensor, rate: Tensor, z: Tensor) -> Tensor:
    """A map that contracts by at most ``rate`` (batch, 1): the iterations a sample takes are chosen by its rate."""
    return rate * torch.cos(x) + z


def relative_error(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / b.norm()).detach())
