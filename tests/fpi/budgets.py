"""Layers with a spectral budget, small enough for numerical derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fpi
from fpi import contraction
from tests.fpi.problems import picard


def dense_layer(factor: float = 0.8, **options: object) -> fpi.FPI_NN:
    net = nn.Sequential(nn.Linear(4 + 3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Softplus()).double()
    layer = fpi.FPI_NN(net, **({"solver": picard(), "adjoint": fpi.BackwardFPI(picard())} | options))
    contraction.spectral_budget_(layer, factor)
    return layer


def conv_layer(factor: float = 0.8, **options: object) -> fpi.FPI_NN:
    net = nn.Sequential(nn.Conv2d(2 + 1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3, padding=1)).double()
    solvers = {"solver": picard(), "adjoint": fpi.BackwardFPI(picard())}
    layer = fpi.FPI_NN(net, state_shape=(2, 3, 3), **(solvers | options))
    contraction.spectral_budget_(layer, factor, slack=1.3)
    return layer


Z = {dense_layer: (2, 3), conv_layer: (2, 1, 3, 3)}
both = pytest.mark.parametrize("make", [dense_layer, conv_layer], ids=["Linear", "Conv2d"])


def grown(make: Callable[[], fpi.FPI_NN], scale: float) -> tuple[fpi.FPI_NN, Tensor]:
    torch.manual_seed(0)
    layer = make()
    contraction.scale_parameters_(layer, scale)
    return layer, torch.randn(Z[make], dtype=torch.float64)
