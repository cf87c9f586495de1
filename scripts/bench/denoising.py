"""The denoising layer of thesis 6.1 (conv 2-32-1 on 180 × 180 images): time and memory of one training step.

Compares, interleaved in one process: a training step with as many bare evaluations of g and products with its Jacobian
as the step's solves take; g itself with the library's convolution, in both memory layouts, without hoisting, with all
images at once and with two threads; and the bytes alive with 40 against 4 iterations.

    python scripts/bench/denoising.py --json results/published/bench/denoising.json
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from common import Row, interleaved, peak_bytes, run
from torch import Tensor, nn

import fpi
from tasks.denoising.models import FPIDenoiser
from tasks.engine.memory import keep_freed_memory

BATCH, SIDE, ITERATIONS = 4, 180, 30


def make(iterations: int = ITERATIONS) -> FPIDenoiser:
    """The paper's layer, solved in exactly so many damped iterations forward and backward."""
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=iterations, damping=0.5, on_failure="ignore")
    return FPIDenoiser(32, 3, 1.0, solver, fpi.BackwardFPI(solver))


def library(channels_last: bool = False) -> nn.Sequential:
    """g's network made of the library's convolutions."""
    net = nn.Sequential(nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, 1, 3, padding=1))
    return net.to(memory_format=torch.channels_last) if channels_last else net


def step_rows(repeats: int) -> list[Row]:
    network = make()
    g, z = network.layer.g, torch.rand(BATCH, 1, SIDE, SIDE)

    def bare_solves() -> None:
        for part in z.split(1):
            iterate(g, part, ITERATIONS)
            products(g, part, ITERATIONS)

    def bare_forward() -> None:
        for part in z.split(1):
            iterate(g, part, ITERATIONS)

    def forward() -> None:
        with torch.no_grad():
            network(z)

    def step() -> None:
        network(z).square().mean().backward()

    times = interleaved({"bare": bare_forward, "layer": forward}, 2 * repeats)
    name = f"{{}} of {BATCH} images of {SIDE} × {SIDE}, {ITERATIONS} iterations each way"
    rows = [Row(name.format("forward pass"), times, "layer", "bare")]
    times = interleaved({"bare": bare_solves, "step": step}, 2 * repeats)
    return [*rows, Row(name.format("training step"), times, "step", "bare")]


def iterate(g: nn.Module, z: Tensor, times: int) -> None:
    """x ← g(x), ``times`` times."""
    with torch.no_grad():
        injected, x = g.inject(z), torch.zeros_like(z)  # type: ignore[operator]
        for _ in range(times):
            x = g(x, injected)


def evaluate(g: nn.Module, z: Tensor, times: int, hoist: bool = True) -> None:
    """``times`` evaluations of g at x = 0; with ``hoist`` the map of z once, else each time."""
    with torch.no_grad():
        injected = g.inject(z)  # type: ignore[operator]
        for _ in range(times):
            g(torch.zeros_like(z), injected if hoist else g.inject(z))  # type: ignore[operator]


def products(g: nn.Module, z: Tensor, times: int) -> None:
    """``times`` products with the transposed Jacobian of g."""
    with torch.no_grad():
        injected = g.inject(z)  # type: ignore[operator]
    x, c = torch.zeros_like(z).requires_grad_(), torch.ones_like(z)
    out = g(x, injected)
    for _ in range(times):
        (c,) = torch.autograd.grad(out, x, c, retain_graph=True)


def g_rows(repeats: int) -> list[Row]:
    """g and its products: what layout, hoisting, splitting the batch and threads change."""
    z, times = torch.rand(BATCH, 1, SIDE, SIDE), 5
    ours, plain, last = make().layer.g, fpi.FPI_NN(library()).g, fpi.FPI_NN(library(channels_last=True)).g
    z_last = z.contiguous(memory_format=torch.channels_last)

    def both(g: nn.Module, images: Tensor, together: int = 1, hoist: bool = True) -> Callable[[], None]:
        def measure() -> None:
            for part in images.split(together):
                evaluate(g, part, times, hoist)
                products(g, part, times)

        return measure

    values = interleaved(
        {
            "ours": both(ours, z),
            "library's convolution": both(plain, z),
            "library's, channels last": both(last, z_last),
            "ours, not hoisted": both(ours, z, hoist=False),
            "ours, all images at once": both(ours, z, together=BATCH),
        },
        repeats,
    )
    name = "g and a product with its Jacobian, 4 images"
    rows = [Row(name, values, "ours", other) for other in values if other != "ours"]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    values = {"ours": values["ours"], "ours, 2 threads": interleaved({"": both(ours, z)}, repeats)[""]}
    torch.set_num_threads(threads)
    return [*rows, Row(name, values, "ours", "ours, 2 threads")]


def memory_rows() -> list[Row]:
    def peak(iterations: int) -> float:
        network, z = make(iterations), torch.rand(BATCH, 1, SIDE, SIDE)
        return peak_bytes(lambda: network(z).square().mean().backward())

    peak(2)
    values = {"40 iterations": peak(40), "4 iterations": peak(4)}
    return [Row("peak memory of a training step (bytes)", values, "40 iterations", "4 iterations")]


def rows(repeats: int) -> list[Row]:
    """All comparisons, each the best of so many repeats."""
    keep_freed_memory()
    return step_rows(repeats) + g_rows(repeats) + memory_rows()


if __name__ == "__main__":
    run("denoising", __doc__, rows, repeats=10)
