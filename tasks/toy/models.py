"""The networks of thesis 5.1: the energy of FPI_GD, and FPI_NN with its feedforward counterpart.

Short names are the paper's: x the state, a the input, both of shape (batch, dim).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi

Injected = tuple[Tensor, Tensor, Tensor, Tensor]


class SquareEnergy(nn.Module):
    """E(x, a) = mean_j (W₂ φ(W₁ [x, a] + b₁) + b₂)_j², φ = ReLU (thesis 5.1.1: FC, ReLU, FC, mean square).

    The gradient is written out: with u = W₁ [x, a] + b₁, M = 2 W₂ᵀW₂ / width and v = 2 W₂ᵀb₂ / width,
    ∂E/∂x = W₁ₓᵀ (φ'(u) ⊙ (M φ(u) + v)), five small operations an iteration; the second layer's width plays no part.

    Args:
        dim: entries of x and of a.
        hidden: units φ acts on.
        width: outputs whose mean square is the energy.
        activation: ``"relu"``, or ``"softplus"``, whose gradient is continuous.
        init_scale: factor on PyTorch's default initial weights and biases.
        reduction: ``"mean"`` square (the thesis' MS), or ``"sum"`` of squares.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        width: int,
        activation: Literal["relu", "softplus"] = "relu",
        init_scale: float = 1.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        if activation not in ("relu", "softplus"):
            raise ValueError(f"activation must be 'relu' or 'softplus', got {activation!r}")
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.first, self.second = nn.Linear(2 * dim, hidden), nn.Linear(hidden, width)
        self.dim, self.smooth = dim, activation == "softplus"
        self.weight_of_square = 1 / width if reduction == "mean" else 1.0
        fpi.contraction.scale_parameters_(self, init_scale)

    def inject(self, a: Tensor) -> Injected:
        """What one solve needs once: W₁ₐ a + b₁, W₁ₓᵀ (contiguous: the solve's products are faster), M and v."""
        weight, second = self.first.weight, self.second
        scale = 2 * self.weight_of_square
        return (
            F.linear(a, weight[:, self.dim :], self.first.bias),
            weight[:, : self.dim].t().contiguous(),
            scale * second.weight.t() @ second.weight,
            scale * second.weight.t() @ second.bias,
        )

    def forward(self, x: Tensor, injected: Injected) -> Tensor:
        """E, shape (batch,)."""
        u = torch.addmm(injected[0], x, injected[1])
        out = self.second(F.softplus(u) if self.smooth else torch.relu(u))
        return self.weight_of_square * out.square().sum(1)

    def gradient(self, x: Tensor, injected: Injected) -> Tensor:
        """∂E/∂x, shape (batch, dim)."""
        h, w_x, m, v = injected
        u = torch.addmm(h, x, w_x)
        if self.smooth:
            inner = torch.sigmoid(u) * torch.addmm(v, F.softplus(u), m)
        else:
            # φ'(u) ⊙ (·) in one operation: the backward of ReLU itself
            inner = torch.ops.aten.threshold_backward(torch.addmm(v, torch.relu(u), m), u, 0)
        return F.linear(inner, w_x)


def fpi_gd(
    dim: int,
    hidden: int,
    width: int,
    step_size: float,
    solver: fpi.Solver,
    adjoint: fpi.Adjoint,
    activation: Literal["relu", "softplus"] = "relu",
    init_scale: float = 1.0,
    reduction: Literal["mean", "sum"] = "mean",
) -> fpi.FPI_GD:
    """x̂ is where gradient descent with step ``step_size`` on :class:`SquareEnergy` ends, started at 0."""
    energy = SquareEnergy(dim, hidden, width, activation, init_scale, reduction)
    return fpi.FPI_GD(energy, state_shape=(dim,), step_size=step_size, solver=solver, adjoint=adjoint)


def fpi_nn(dim: int, hidden: int, solver: fpi.Solver, adjoint: fpi.Adjoint, init_scale: float = 1.0) -> fpi.FPI_NN:
    """x̂ is a fixed point of x = W₂ relu(W₁ [x, a] + b₁) + b₂ (thesis 5.1.2: linear, ReLU, linear)."""
    net = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
    fpi.contraction.scale_parameters_(net, init_scale)
    return fpi.FPI_NN(net, state_shape=(dim,), solver=solver, adjoint=adjoint)


def feedforward(dim: int, hidden: int) -> nn.Sequential:
    """The structure of :func:`fpi_nn`'s g without the iteration: x = W₂ relu(W₁ a + b₁) + b₂, which is g(0, a)."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
