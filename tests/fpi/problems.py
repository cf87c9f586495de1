"""Small float64 problems that every test of the core shares."""

from __future__ import annotations

from typing import Any

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


CUT_CRITERION: dict[str, Any] = {"criterion": fpi.Relative(1e-20), "max_iter": 3000}
CUT_SOLVERS: dict[str, fpi.Solver] = {
    "picard": fpi.Picard(**CUT_CRITERION),
    "damped": fpi.Picard(damping=0.7, **CUT_CRITERION),
    "anderson": fpi.Anderson(**CUT_CRITERION),
    "broyden": fpi.Broyden(**CUT_CRITERION),
    "each": fpi.Picard(check_every=1, **CUT_CRITERION),
    "check_every": fpi.Picard(check_every=4, **CUT_CRITERION),
    "anderson-check_every": fpi.Anderson(check_every=3, **CUT_CRITERION),
    "broyden-check_every": fpi.Broyden(check_every=3, **CUT_CRITERION),
}


def spacing(solver: fpi.Solver) -> int:
    """Iterations between two checks where convergence is near."""
    return 1 if solver.check_every == "auto" else solver.check_every


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


TURN = torch.linalg.qr(torch.randn(8, 8, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)))[0]


def turning(x: Tensor, rate: Tensor, z: Tensor) -> Tensor:
    """Contracts by 1.05 · rate at most, and turns: no method gets a sample of high rate done in a few iterations."""
    return rate * (x @ TURN + 0.05 * torch.sin(x)) + z


def one_hard(batch: int = 24, hard: int = 17) -> tuple[Tensor, Tensor]:
    """Rates and z of ``batch`` easy samples with a hard one among them."""
    rate = torch.full((batch, 1), 0.01, dtype=DOUBLE)
    rate[hard] = 0.93
    return rate, torch.linspace(-2, 2, 8 * batch, dtype=DOUBLE).reshape(batch, 8).sin().requires_grad_()


def interleaved() -> tuple[Tensor, Tensor]:
    """Rates between 0.02 and 0.93 in mixed order: half of what is left leaves several times."""
    return torch.linspace(0.02, 0.93, 24, dtype=DOUBLE)[torch.arange(24) * 7 % 24, None], one_hard()[1]
