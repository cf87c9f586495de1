"""scripts/bench/classification.py: the bare loop computes what the network does, and every comparison is made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts" / "bench"))  # scripts import their neighbours

import classification as bench

import fpi
from tasks.classification.module import squared_error


@pytest.mark.parametrize("name", ["fc", "svhn"])
def test_the_bare_step_has_the_gradient_of_the_training_step(name: str) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(6, *bench.SHAPES[name], dtype=torch.float64), torch.arange(6)
    tight = fpi.Picard(criterion=fpi.Relative(1e-24), compact=False)
    network = bench.make(name, fpi.BackwardFPI(tight)).double()
    network.layer.solver = tight
    squared_error(network(images), labels).backward()
    expected = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network.zero_grad()
    bench.bare_step(network, images, labels, 300, 300)
    found = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert len(found) == len(expected) == len(list(network.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


def test_rows_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SHAPES", {"fc": (1, 8, 8)})
    rows = [*bench.epoch_rows("fc", 1), *bench.step_rows("fc", 1), *bench.memory_rows()]
    assert [(row.numerator, row.denominator) for row in rows] == [
        *(("CG", "JFB"), ("BackwardFPI", "JFB"), ("JFB", "explicit"), ("step", "bare"), ("step", "bare")),
        ("200 iterations", "4 iterations"),
    ]
    assert all(row.ratio > 0 for row in rows) and rows[-1].ratio < 1.5  # memory does not grow with the iterations
