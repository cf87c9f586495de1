"""The toy layer of thesis 5.1.1 (1,000 gradient steps on a 20-64-64 energy): time and memory of one training step.

Compares, interleaved in one process, the layer's 1,000 gradient steps with a bare loop of the closed-form gradient and
with the same loop left to autograd; the two exact adjoints; and the bytes alive with 1,000 against 10 steps.

    python scripts/bench/toy.py --json results/published/bench/toy.json
"""

from __future__ import annotations

import torch
from common import Row, interleaved, peak_bytes, run
from torch import Tensor

import fpi
from tasks.toy.models import SquareEnergy, fpi_gd

STEPS, DIM, BATCH, GAMMA = 1000, 10, 100, 1e3


def make(steps: int, adjoint: fpi.Adjoint) -> fpi.FPI_GD:
    """The paper's layer with weights ×0.1, exactly ``steps`` gradient steps."""
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=steps, check_every=steps, on_failure="ignore")
    return fpi_gd(DIM, 64, 64, GAMMA, solver, adjoint, init_scale=0.1)


def backward_fpi(terms: int) -> fpi.BackwardFPI:
    """The backward layer run for as many terms as the forward one."""
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=terms - 1, check_every=terms - 1, on_failure="ignore")
    return fpi.BackwardFPI(solver)


def forward_rows(repeats: int) -> list[Row]:
    a = torch.randn(BATCH, DIM)
    layer = make(STEPS, fpi.Dense(terms=STEPS))
    energy: SquareEnergy = layer.g.energy  # type: ignore[assignment]

    def bare() -> None:
        with torch.no_grad():
            injected = energy.inject(a)
            x = torch.zeros(BATCH, DIM)
            for _ in range(STEPS):
                x = torch.sub(x, energy.gradient(x, injected), alpha=GAMMA)

    def autograd() -> None:
        x = torch.zeros(BATCH, DIM)
        injected = tuple(part.detach() for part in energy.inject(a))
        for _ in range(STEPS):
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy(leaf, injected).sum(), leaf)  # type: ignore[arg-type]
            x = x - GAMMA * gradient

    times = interleaved({"bare": bare, "layer": lambda: _run(layer, a), "autograd": autograd}, repeats)
    return [Row("1,000 gradient steps, batch 100", times, "layer", other) for other in ("bare", "autograd")]


def backward_rows(repeats: int) -> list[Row]:
    a = torch.randn(BATCH, DIM)
    layers = {"dense": make(STEPS, fpi.Dense(terms=STEPS)), "iterated": make(STEPS, backward_fpi(STEPS))}
    gradients: dict[str, Tensor] = {}

    def step(name: str) -> None:
        loss = layers[name](a).square().mean()
        gradients[name] = torch.autograd.grad(loss, list(layers[name].parameters()))[0]

    times = interleaved({name: lambda name=name: step(name) for name in layers}, repeats)  # type: ignore[misc]
    difference = (gradients["dense"] - gradients["iterated"]).norm() / gradients["iterated"].norm()
    assert difference < 1e-3, f"the two adjoints disagree by {difference:.1e}"  # float32, 1,000 terms
    return [Row("training step, 1,000 backward terms by repeated squaring or iterated", times, "dense", "iterated")]


def memory_rows() -> list[Row]:
    def peak(steps: int) -> float:
        layer = make(steps, backward_fpi(steps))
        return peak_bytes(lambda: layer(torch.randn(BATCH, DIM)).square().mean().backward())

    peak(2)
    values = {"1000 steps": peak(1000), "10 steps": peak(10)}
    return [Row("peak memory of a training step (bytes)", values, "1000 steps", "10 steps")]


def _run(layer: fpi.FPI_GD, a: Tensor) -> None:
    with torch.no_grad():
        layer(a)


def rows(repeats: int) -> list[Row]:
    """All comparisons, each the best of so many repeats."""
    return forward_rows(repeats) + backward_rows(max(2, repeats // 3)) + memory_rows()


if __name__ == "__main__":
    run("toy", __doc__, rows, repeats=10)
