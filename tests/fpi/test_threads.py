"""Two threads and one layer: ``functional_call`` puts tensors into the module while a second derivative is taken."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import fpi
from tests.fpi.problems import DOUBLE, make_nn


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def derivatives(layer: fpi.FPILayer, parameters: list[Tensor], z: Tensor, order: int) -> tuple[Tensor, ...]:
    z = z.clone().requires_grad_()
    inputs = [z, *parameters]
    found = torch.autograd.grad(layer(z).square().sum(), inputs, create_graph=order == 2)
    return torch.autograd.grad(sum(g.square().sum() for g in found), inputs) if order == 2 else found


@pytest.mark.parametrize(
    ("orders", "shared", "repeats"),
    [((1, 1), True, 40), ((2, 2), True, 30), ((1, 2), True, 30), ((2, 2), False, 10)],
    ids=["first order", "second order", "both orders", "different layers"],
)
def test_two_threads_get_what_one_gets(orders: tuple[int, int], shared: bool, repeats: int) -> None:
    torch.manual_seed(0)
    first = make_nn(2, 2, 3)
    layers = [first, first if shared else make_nn(2, 2, 3)]
    parameters = [list(layer.parameters()) for layer in layers]
    inputs = [torch.randn(2, 2, dtype=DOUBLE) for _ in layers]
    expected = [derivatives(*case) for case in zip(layers, parameters, inputs, orders, strict=True)]
    wrong: list[str] = []

    def work(i: int) -> None:
        for _ in range(repeats):
            try:
                found = derivatives(layers[i], parameters[i], inputs[i], orders[i])
            except Exception as error:
                wrong.append(repr(error))
            else:
                if not all(torch.equal(a, b) for a, b in zip(found, expected[i], strict=True)):
                    wrong.append("other values")

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    for layer, own in zip(layers, parameters, strict=True):
        assert all(a is b for a, b in zip(layer.parameters(), own, strict=True))
