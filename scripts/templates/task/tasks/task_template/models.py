"""The networks of the rows: an FPI_NN, and a feedforward network of the same structure."""

from __future__ import annotations

from torch import nn

import fpi


def fpi_nn(
    state: int, inputs: int, hidden: int, init_scale: float, solver: fpi.Solver, adjoint: fpi.Adjoint
) -> fpi.FPI_NN:
    """x = g([x, z]) with g linear-tanh-linear; `init_scale` multiplies the initial weights, so that g contracts."""
    layer = fpi.FPI_NN(_network(state + inputs, hidden, state), solver=solver, adjoint=adjoint)
    fpi.contraction.scale_parameters_(layer, init_scale)
    return layer


def feedforward(state: int, inputs: int, hidden: int) -> nn.Module:
    """x = h(z) with h linear-tanh-linear."""
    return _network(inputs, hidden, state)


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
