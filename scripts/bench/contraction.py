"""What each way to keep g a contraction costs: a training step with it over one without, fpi/CONTRACTION.md.

Compares, interleaved in one process, a training step of the same layer, solved in exactly so many iterations each way,
with Adam: unconstrained, with a spectral budget, limited after each step, and with a Jacobian penalty in the loss.

    python scripts/bench/contraction.py --json results/published/bench/contraction.json
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from common import Row, interleaved, run
from torch import Tensor, nn

import fpi
from fpi import contraction
from tasks.engine.memory import keep_freed_memory

ITERATIONS, FACTOR = 15, 0.9
PLAIN = "unconstrained"


def labels() -> tuple[nn.Sequential, Tensor]:
    """FPI_NN as for multi-label classification, and a batch of 32 documents."""
    words, hidden, outputs = 1836, 512, 159
    net = nn.Sequential(nn.Linear(outputs + words, hidden), nn.ReLU(), nn.Linear(hidden, outputs), nn.Sigmoid())
    return net, torch.rand(32, words)


def convolutions() -> tuple[nn.Sequential, Tensor]:
    """Three 3 × 3 convolutions with 32 channels, and 4 images of 64 × 64."""
    inner = nn.Conv2d(32, 32, 3, padding=1)
    net = nn.Sequential(
        nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), inner, nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1), nn.Tanh()
    )
    return net, torch.rand(4, 1, 64, 64)


def contestants(net: nn.Sequential, z: Tensor) -> dict[str, Callable[[], None]]:
    """A training step of the same network with each remedy, by name."""
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=ITERATIONS, on_failure="ignore")

    def step(remedy: str) -> Callable[[], None]:
        layer = fpi.FPI_NN(copy.deepcopy(net), solver=solver, adjoint=fpi.BackwardFPI(solver))
        if remedy == "spectral_budget_":
            contraction.spectral_budget_(layer, FACTOR)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.0, fused=True)  # so that all steps do the same

        def run_step() -> None:
            optimizer.zero_grad()
            x = layer(z)
            loss = (x - 1).square().mean()
            if remedy == "jacobian_penalty":
                loss = loss + contraction.jacobian_penalty(layer.g, x, layer.g.inject(z)).mean()
            loss.backward()
            optimizer.step()
            if remedy == "limit_lipschitz_":
                contraction.limit_lipschitz_(layer, None, FACTOR)

        return run_step

    return {remedy: step(remedy) for remedy in (PLAIN, "spectral_budget_", "limit_lipschitz_", "jacobian_penalty")}


def rows(repeats: int) -> list[Row]:
    """Every remedy over none, for both networks."""
    keep_freed_memory()
    found = []
    for title, make in (
        ("1,836 words, 512 units, 159 labels, batch 32", labels),
        ("three 3 × 3 convolutions, 32 channels, 4 images of 64 × 64", convolutions),
    ):
        torch.manual_seed(0)
        net, z = make()
        contraction.scale_parameters_(net, 0.5)
        times = interleaved(contestants(net, z), repeats)
        name = f"training step, {ITERATIONS} iterations each way: {title}"
        found += [Row(name, times, remedy, PLAIN) for remedy in times if remedy != PLAIN]
    return found


if __name__ == "__main__":
    run("contraction", __doc__, rows, repeats=30)
