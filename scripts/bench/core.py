"""How much does the fixed-point node cost beyond the iterations themselves?

Compares, interleaved in one process, a bare ``for`` loop over g under ``no_grad`` with the node's forward solve, a bare
loop of vector-Jacobian products with the node's backward solve, the tensors alive for 10 against 1,000 iterations, and
plain gradient descent with the solvers on an FPI_GD energy.

    python scripts/bench/core.py                     # table
    python scripts/bench/core.py --json results/published/bench/core.json
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from common import Row, interleaved, peak_bytes, run
from torch import Tensor, nn

import fpi


def make_layer(dim: int, iterations: int, check_every: int = 1) -> fpi.FPI_NN:
    """An MLP g on [x, z] that contracts with factor 0.5 and never meets its criterion: exactly ``iterations`` steps."""
    torch.manual_seed(0)
    criterion = fpi.Relative(0.0, scope="batch")
    solver = fpi.Picard(criterion=criterion, max_iter=iterations, check_every=check_every, on_failure="ignore")
    net = nn.Sequential(nn.Linear(2 * dim, dim), nn.Tanh(), nn.Linear(dim, dim), nn.Tanh())
    layer = fpi.FPI_NN(net, solver=solver, adjoint=fpi.BackwardFPI(solver))
    fpi.contraction.limit_lipschitz_(layer, dim, bound=0.98)
    return layer


def overhead(dim: int, batch: int, iterations: int, repeats: int) -> list[Row]:
    """The node against bare loops, forward and backward, checking every step and every fifth."""
    z = torch.randn(batch, dim)
    v = torch.randn(batch, dim)
    rows = []
    for check_every in (1, 5):
        layer = make_layer(dim, iterations, check_every)

        def bare_forward(layer: fpi.FPI_NN = layer) -> None:
            with torch.no_grad():
                injected = layer.g.inject(z)  # type: ignore[operator]
                x = torch.zeros(batch, dim)
                for _ in range(iterations):
                    x = layer.g(x, injected)

        def node_forward(layer: fpi.FPI_NN = layer) -> None:
            layer(z)

        x_hat = layer(z).detach().requires_grad_()
        parameters = list(layer.parameters())

        attached: list[Tensor] = []
        source: list[Tensor] = []

        def bare_backward(
            layer: fpi.FPI_NN = layer,
            x: Tensor = x_hat,
            parameters: list[Tensor] = parameters,
            source: list[Tensor] = source,
        ) -> None:
            out = layer.g(x, source[0])
            c = v
            for _ in range(iterations):
                c = torch.autograd.grad(out, x, c, retain_graph=True)[0] + v
            torch.autograd.grad(out, parameters, c)

        def prepare(layer: fpi.FPI_NN = layer, attached: list[Tensor] = attached) -> None:
            attached[:] = [layer(z)]

        def prepare_bare(layer: fpi.FPI_NN = layer, source: list[Tensor] = source) -> None:
            source[:] = [layer.g.inject(z)]  # type: ignore[operator]

        def node_backward(parameters: list[Tensor] = parameters, attached: list[Tensor] = attached) -> None:
            torch.autograd.grad(attached[0], parameters, v)

        name = f"{iterations} iterations, dim {dim}, batch {batch}, check every {check_every}"
        forward = interleaved({"bare": bare_forward, "node": node_forward}, repeats)
        backward = interleaved(
            {"bare": bare_backward, "node": node_backward}, repeats, before={"bare": prepare_bare, "node": prepare}
        )
        rows += [Row(f"forward, {name}", forward, "node", "bare"), Row(f"backward, {name}", backward, "node", "bare")]
    return rows


def memory(dim: int, batch: int) -> list[Row]:
    """Peak bytes of live tensors in one forward and backward pass."""

    def peak(iterations: int) -> float:
        layer = make_layer(dim, iterations)
        return peak_bytes(lambda: layer(torch.randn(batch, dim)).sum().backward())

    peak(2)
    values = {"1000 iterations": peak(1000), "10 iterations": peak(10)}
    return [Row(f"peak memory, dim {dim}, batch {batch} (bytes)", values, "1000 iterations", "10 iterations")]


class Quadratic(nn.Module):
    """E = ½ (x − z)ᵀ A (x − z) with condition number 100."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(dim, dim))
        self.a = nn.Parameter(q @ torch.diag(torch.linspace(0.01, 1, dim)) @ q.T)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return 0.5 * ((x - z) @ self.a * (x - z)).sum(1)

    def gradient(self, x: Tensor, z: Tensor) -> Tensor:
        return (x - z) @ self.a


def solvers(dim: int, batch: int, repeats: int) -> list[Row]:
    """Time to the same criterion on an ill-conditioned energy."""
    torch.manual_seed(0)
    energy, z = Quadratic(dim), torch.randn(batch, dim)
    criterion = fpi.Relative(1e-10)
    kinds: dict[str, fpi.Solver] = {
        "picard": fpi.Picard(criterion=criterion, max_iter=5000),
        "anderson": fpi.Anderson(criterion=criterion, max_iter=5000),
        "lbfgs": fpi.LBFGS(criterion=criterion, max_iter=5000),
    }
    runs: dict[str, Callable[[], None]] = {}
    evaluations = {}
    for name, solver in kinds.items():
        layer = fpi.FPI_GD(energy, step_size=1.0, solver=solver)
        layer(z)
        assert layer.info is not None
        evaluations[name] = layer.info.evaluations

        def solve(layer: fpi.FPI_GD = layer) -> None:
            layer(z)

        runs[name] = solve
    times = interleaved(runs, repeats)
    counts = ", ".join(f"{name} {count}" for name, count in evaluations.items())
    title = f"FPI_GD, condition number 100 (evaluations: {counts})"
    return [Row(title, times, "anderson", "picard"), Row(title, times, "lbfgs", "picard")]


def rows(repeats: int) -> list[Row]:
    """All comparisons, each the best of so many repeats."""
    return (
        overhead(512, 128, 50, repeats)
        + overhead(64, 32, 50, repeats)
        + memory(512, 128)
        + solvers(64, 128, max(3, repeats // 3))
    )


if __name__ == "__main__":
    run("core", __doc__, rows, repeats=15)
