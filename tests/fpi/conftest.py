"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.fpi.problems import make_gd, make_nn


@pytest.fixture(params=[make_nn, make_gd], ids=["FPI_NN", "FPI_GD"])
def make_layer(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    return request.param


@pytest.fixture
def z() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
