"""The restoration layer (a stage 𝒢∘ℱ∘𝒜, networks of 32 channels): time and memory of one training step.

Compares, interleaved in one process: a forward pass and a training step of the FPI layer with as many bare evaluations
of the stage and products with its Jacobian as its solves take; the closed-form inverse with conjugate gradients on the
same normal equations; and the bytes alive with 40 against 4 iterations.

    python scripts/bench/restoration.py --json results/published/bench/restoration.json
"""

from __future__ import annotations

from typing import Any

import torch
from common import Row, interleaved, peak_bytes, run
from torch import Tensor

import fpi
from tasks.engine.memory import keep_freed_memory
from tasks.restoration.kernels import bicubic, camera_shake
from tasks.restoration.models import FixedPoint
from tasks.restoration.operators import Problem, degrade

BATCH, SIDE, ITERATIONS, CHANNELS = 2, 96, 20, 32


def make(iterations: int = ITERATIONS, kind: str = "deblur") -> tuple[FixedPoint, Problem]:
    """The row of profile=train400, solved in exactly so many iterations forward and backward, and a problem."""
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=iterations, on_failure="ignore")
    stage = {"channels": CHANNELS, "dilations": [1, 2, 3, 2, 1], "keep": 0.5, "lipschitz": 0.95}
    network = FixedPoint(stage, solver, fpi.BackwardFPI(solver))
    network.said = True  # exactly so many iterations is what is wanted here
    kernels = [bicubic(4) if kind == "sr4" else camera_shake(i, 25) for i in range(BATCH)]
    factor = 4 if kind == "sr4" else 1
    truth = torch.rand(BATCH, 1, SIDE, SIDE)
    return network, degrade(truth, kernels, torch.zeros_like(truth[..., ::factor, ::factor]), factor)


def bare_forward(stage: Any, problem: Problem) -> Tensor:
    with torch.no_grad(), fpi.contraction.hold():
        prepared = stage.inject(problem)
        x: Tensor = prepared.z
        for _ in range(ITERATIONS):
            x = stage(x, prepared)
    return x


def bare_step(stage: Any, problem: Problem) -> None:
    """Evaluations, products with the Jacobian's transpose, and one with that of the parameters."""
    x = bare_forward(stage, problem).requires_grad_()
    with fpi.contraction.hold():
        out = stage(x, stage.inject(problem))
        v = 2 * out.detach() / out.numel()
        c = v
        for _ in range(ITERATIONS):
            c = torch.autograd.grad(out, x, c, retain_graph=True)[0] + v
        torch.autograd.grad(out, list(stage.parameters()), c)


def step_rows(repeats: int) -> list[Row]:
    rows = []
    for kind in ("deblur", "sr4"):
        network, problem = make(kind=kind)
        stage = network.layer.g
        parameters = list(stage.parameters())

        def forward(network: FixedPoint = network, problem: Problem = problem) -> None:
            with torch.no_grad():
                network(problem)

        def step(network: FixedPoint = network, problem: Problem = problem, own: list[Any] = parameters) -> None:
            torch.autograd.grad(network(problem).square().mean(), own)

        def bare(stage: Any = stage, problem: Problem = problem) -> None:
            bare_forward(stage, problem)

        def bare_all(stage: Any = stage, problem: Problem = problem) -> None:
            bare_step(stage, problem)

        size = f"{BATCH} images of {SIDE} × {SIDE}, {ITERATIONS} iterations each way, {kind}"
        times = interleaved({"bare": bare, "layer": forward}, repeats)
        rows.append(Row(f"forward pass of {size}", times, "layer", "bare"))
        times = interleaved({"bare": bare_all, "step": step}, repeats)
        rows.append(Row(f"training step of {size}", times, "step", "bare"))
    return rows


def solve_rows(repeats: int) -> list[Row]:
    """(AᵀA + μ)⁻¹ b in closed form and by conjugate gradients to a relative residual of 1e-5."""
    rows = []
    for kind in ("deblur", "sr4"):
        _, problem = make(kind=kind)
        b, mu = problem.adjoint(problem.y), torch.tensor(0.03)

        def closed(problem: Problem = problem, b: Tensor = b, mu: Tensor = mu) -> Tensor:
            return problem.solve(b, mu)

        def gradients(problem: Problem = problem, b: Tensor = b, mu: Tensor = mu) -> Tensor:
            x, r = torch.zeros_like(b), b
            p, rr = r, r.square().sum((1, 2, 3), keepdim=True)
            start = rr
            while bool((rr > 1e-10 * start).any()):
                ap = problem.adjoint(problem.apply(p)) + mu * p
                a = rr / (p * ap).sum((1, 2, 3), keepdim=True)
                x, r = x + a * p, r - a * ap
                new = r.square().sum((1, 2, 3), keepdim=True)
                p, rr = r + new / rr * p, new
            return x

        assert (closed() - gradients()).abs().max() < 1e-3
        contestants: Any = {"closed form": closed, "conjugate gradients": gradients}
        times = interleaved(contestants, repeats)
        rows.append(Row(f"propagation ℱ, {kind}", times, "closed form", "conjugate gradients"))
    return rows


def memory_rows() -> list[Row]:
    def peak(iterations: int) -> float:
        network, problem = make(iterations)
        return peak_bytes(lambda: network(problem).square().mean().backward())

    peak(2)
    values = {"40 iterations": peak(40), "4 iterations": peak(4)}
    return [Row("peak memory of a training step (bytes)", values, "40 iterations", "4 iterations")]


def rows(repeats: int) -> list[Row]:
    """All comparisons, each the best of so many repeats."""
    keep_freed_memory()
    return step_rows(repeats) + solve_rows(repeats) + memory_rows()


if __name__ == "__main__":
    run("restoration", __doc__, rows, repeats=10)
