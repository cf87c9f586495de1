"""Relaxed PODM and its fixed point: the stage x ↦ 𝒢(ℱ(𝒜(x; θ_A); θ_H)) with everything in it learned end to end.

𝒜 is a network on [x, z], z a first restoration; ℱ is propagation with d = ½‖x − x_A‖²_H, H = |ĥ(ω)|² + μ made of
learned filters h (θ_H); 𝒢 is a proximal-gradient step on f + λ‖Wx‖₁, p = 1, λ learned.  ℱ and 𝒢 are nonexpansive, so
that the stage contracts if 𝒜 does.  The acceptance test of PODM is dropped, as the poster says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import fpi
from tasks.restoration.denoisers import dilated_network
from tasks.restoration.operators import Problem, transfer
from tasks.restoration.podm import SLACK
from tasks.restoration.prior import LpDct


class Prepared(NamedTuple):
    """What a stage needs of a problem: computed once, not once an iteration.

    Attributes:
        problem: the problem itself.
        z: the first restoration, shaped as the image.
        hidden: z's part of the network's first layer.
        pulled: Aᵀ y.
        metric: H's spectrum, one an image.
        step: 1 / (SLACK ‖A‖²), (batch, 1, 1, 1).
    """

    problem: Problem
    z: Tensor
    hidden: Tensor
    pulled: Tensor
    metric: Tensor
    step: Tensor


class RelaxedStage(nn.Module):
    """One stage, a map g(x, z) as `fpi.FPILayer` takes it.

    Args:
        channels, dilations: of the network.
        keep: x_A = keep · x + (1 − keep) · z + network([x, z]).  1: the residual form of the denoisers.
        filters: learned 5 × 5 filters that make up H.
        mu, ridge, weight: initial values of μ, of the first restoration's Tikhonov weight, and of λ, all learned.
        lipschitz: bound on ‖∂𝒜/∂x‖ that holds at all weights (then keep must be below it); None: no bound.

    Raises:
        ValueError: keep or lipschitz out of range.
    """

    def __init__(
        self,
        channels: int,
        dilations: Sequence[int],
        keep: float = 1.0,
        filters: int = 4,
        mu: float = 0.03,
        ridge: float = 0.03,
        weight: float = 1e-3,
        lipschitz: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= keep <= 1 or (lipschitz is not None and not keep < lipschitz):
            raise ValueError(f"keep must lie in [0, 1] and below lipschitz={lipschitz}, got {keep}")
        self.keep, self.lipschitz = keep, lipschitz
        net = dilated_network(2, channels, dilations)
        with torch.no_grad():
            net[-1].weight.mul_(0.1)  # type: ignore[operator]
        self.net = fpi.FPI_NN(net).g  # splits the first layer into a part of x and one of z
        if lipschitz is not None:
            fpi.contraction.spectral_budget_(net, lipschitz - keep, state_features=1)
        self.filters = nn.Parameter(0.01 * torch.randn(filters, 5, 5))
        self.logs = nn.Parameter(torch.tensor([mu, ridge, weight]).log())  # positive at all values
        self.prior = LpDct(1.0, 1.0, axes=2)

    def first(self, problem: Problem) -> Tensor:
        """z, the first restoration: argmin f(x) + ridge/2 ‖x‖²."""
        return problem.solve(problem.adjoint(problem.y), self.logs[1].exp())

    def inject(self, problem: Problem) -> Prepared:
        """The problem prepared; depends on the learned parameters."""
        mu, pulled = self.logs[0].exp(), problem.adjoint(problem.y)
        z = self.first(problem)
        hidden = self.net.inject(z)  # type: ignore[operator]
        metric = mu + sum(transfer(h, problem.size).abs().square() for h in self.filters)
        step = 1 / (SLACK * problem.lipschitz())
        return Prepared(problem, z, hidden, pulled, metric.expand(len(z), 1, -1, -1), step)

    def forward(self, x: Tensor, prepared: Prepared) -> Tensor:
        """𝒢(ℱ(𝒜(x)))."""
        problem, z = prepared.problem, prepared.z
        x_a = self.keep * x + self.net(x, prepared.hidden)
        if self.keep < 1:
            x_a = x_a + (1 - self.keep) * z
        pulled = problem.image(prepared.metric * problem.spectrum(x_a))
        x_f = problem.solve(prepared.pulled + pulled, prepared.metric)
        v = x_f - prepared.step * problem.gradient(x_f)
        return self.prior.prox(v, self.logs[2].exp() * prepared.step)
