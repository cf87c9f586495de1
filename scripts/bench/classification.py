"""The Fixed Point Networks of tasks/classification: an epoch by each backpropagation scheme, and a training step.

Compares, interleaved in one process: epochs of the same model, data and batches (scikit-learn's digits, resized to the
size of the paper's images) trained Jacobian-free, by conjugate gradients on the normal equations, by the backward
layer and explicitly; a training step with the bare loop of evaluations and products that it consists of; dropout with
the library's; and the bytes alive with 200 against 4 iterations.

    python scripts/bench/classification.py --json results/published/bench/classification.json
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import Row, interleaved, peak_bytes, run
from torch import Tensor, nn

import fpi
from tasks.classification.data import DigitsData
from tasks.classification.dropout import FairDropout
from tasks.classification.module import squared_error
from tasks.classification.network import Classifier
from tasks.engine.memory import keep_freed_memory

SHAPES = {"fc": (1, 28, 28), "conv": (1, 28, 28), "svhn": (3, 32, 32), "cifar10": (3, 32, 32)}
TOLERANCE, BATCH = 1e-8, 50
ADJOINTS: dict[str, fpi.Adjoint] = {
    "JFB": fpi.JacobianFree(),
    "CG": fpi.BackwardFPI(fpi.ConjugateGradient(criterion=fpi.Relative(TOLERANCE), compact=False, on_failure="ignore")),
    "BackwardFPI": fpi.BackwardFPI(fpi.Picard(criterion=fpi.Relative(TOLERANCE), compact=False)),
    "explicit": fpi.Unrolled(),
}


def make(name: str, adjoint: fpi.Adjoint) -> Classifier:
    """A model of the paper, solved to the tolerance of its figures, or explicit."""
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Absolute(TOLERANCE), compact=False, on_failure="ignore")
    once = fpi.Picard(criterion=fpi.Absolute(0.0), max_iter=1, on_failure="ignore")
    return Classifier(name, SHAPES[name], once if isinstance(adjoint, fpi.Unrolled) else solver, adjoint)


def epoch_rows(name: str, repeats: int) -> list[Row]:
    """Seconds of an epoch: each scheme trains its own network on the same batches, every batch by each in turn.

    Of each batch the least time over the epochs counts, so that what else the machine does weighs little.
    """
    data = DigitsData(SHAPES[name], BATCH)
    data.setup()
    batches = list(data.train_dataloader())
    steps = {key: training_step(make(name, adjoint)) for key, adjoint in ADJOINTS.items()}
    best = [dict.fromkeys(steps, float("inf")) for _ in batches]
    for epoch in range(repeats + 1):
        for least, batch in zip(best, batches, strict=True):
            found = interleaved({key: partial(step, *batch) for key, step in steps.items()}, 1, warm=False)
            if epoch:
                least.update({key: min(least[key], found[key]) for key in steps})
    values = {key: sum(least[key] for least in best) for key in steps}
    title = f"{name}: an epoch of {len(batches)} batches of {BATCH}"
    pairs = [("CG", "JFB"), ("BackwardFPI", "JFB"), ("JFB", "explicit")]
    return [Row(title, values, slow, fast) for slow, fast in pairs]


def training_step(network: Classifier, lr: float = 1e-3) -> Callable[[Tensor, Tensor], None]:
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        squared_error(network(images), labels).backward()
        optimizer.step()

    return step


def step_rows(name: str, repeats: int) -> list[Row]:
    """A training step, and what no implementation can do without, written out: no criterion, no diagnostics.

    That is Q, the iterations of R that the solve takes and one more that is recorded, S and the loss, as many products
    with R's Jacobian, one with that of the weights, the norms of a spectral budget once, and the optimiser's step.
    """
    images, labels = torch.rand(BATCH, *SHAPES[name]), torch.arange(BATCH) % 10
    rows = []
    for scheme in ("JFB", "BackwardFPI"):
        network = make(name, ADJOINTS[scheme])
        squared_error(network(images), labels).backward()
        info = network.layer.info
        assert info is not None
        counts = info.evaluations, 0 if info.backward is None else info.backward.evaluations
        twin = copy.deepcopy(network)
        optimizer = torch.optim.Adam(twin.parameters(), lr=0.0, fused=True)
        step = training_step(network, lr=0.0)  # weights that stay as they are: every step takes as many iterations

        def bare(twin: Classifier = twin, optimizer: Any = optimizer, counts: tuple[int, int] = counts) -> None:
            optimizer.zero_grad()
            bare_step(twin, images, labels, *counts)
            optimizer.step()

        def whole(step: Callable[[Tensor, Tensor], None] = step) -> None:
            step(images, labels)

        title = f"{name}: {scheme}, training step of {BATCH} images, {counts[0]} evaluations and {counts[1]} products"
        rows.append(Row(title, interleaved({"bare": bare, "step": whole}, repeats), "step", "bare"))
    return rows


def bare_step(network: Classifier, images: Tensor, labels: Tensor, evaluations: int, products: int) -> None:
    """Forward and backward pass with the iterations of a whole batch written out."""
    g: Any = network.layer.g
    with fpi.contraction.hold():
        v = network.features(images)
        source = g.inject(v) if hasattr(g, "inject") else v
        with torch.no_grad():
            u = torch.zeros_like(v)
            for _ in range(evaluations):
                u = g(u, source)
        u.requires_grad_()
        out = g(u, source)
        found = out.detach().requires_grad_()
        squared_error(network.head(found), labels).backward()
        assert found.grad is not None
        c = found.grad
        for _ in range(products):
            c = torch.autograd.grad(out, u, c, retain_graph=True)[0] + found.grad
        out.backward(c)


def dropout_rows(repeats: int) -> list[Row]:
    x = torch.rand(BATCH, 96, 26, 26).contiguous(memory_format=torch.channels_last)
    contestants = {"fair coin": FairDropout(), "library": nn.Dropout(0.5)}
    values = interleaved({key: lambda module=module: module(x) for key, module in contestants.items()}, repeats)  # type: ignore[misc]
    return [Row("dropout of 96 feature maps of 26 × 26, batch 50", values, "fair coin", "library")]


def memory_rows() -> list[Row]:
    images, labels = torch.rand(BATCH, 1, 28, 28), torch.arange(BATCH) % 10

    def peak(iterations: int) -> float:
        solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=iterations, on_failure="ignore")
        network = Classifier("fc", (1, 28, 28), solver, fpi.BackwardFPI(solver))
        return peak_bytes(lambda: squared_error(network(images), labels).backward())

    peak(2)
    values = {"200 iterations": peak(200), "4 iterations": peak(4)}
    return [Row("fc: peak memory of a training step (bytes)", values, "200 iterations", "4 iterations")]


def rows(repeats: int) -> list[Row]:
    """All comparisons, each the best of so many repeats."""
    keep_freed_memory()
    epochs = [row for name in SHAPES for row in epoch_rows(name, repeats)]
    steps = [row for name in SHAPES for row in step_rows(name, 4 * repeats)]
    return epochs + steps + dropout_rows(repeats) + memory_rows()


if __name__ == "__main__":
    run("classification", __doc__, rows, repeats=5)
