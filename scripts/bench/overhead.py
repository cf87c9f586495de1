"""What the fixed-point node costs beyond the iterations themselves: time, memory, and what compaction saves."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import jax_maps
import torch
from case import Case
from common import Row, interleaved, peak_bytes
from peers_torch import bare_solve, bare_vjps
from torch import Tensor

import fpi
from fpi.onednn import repeated


def fixed_number(iterations: int, check_every: Any) -> fpi.Picard:
    """Exactly so many iterations: the criterion is measured and never met."""
    criterion = fpi.Relative(0.0)
    return fpi.Picard(criterion=criterion, max_iter=iterations, check_every=check_every, on_failure="ignore")


def overhead(case: Case, repeats: int, iterations: int | None = None) -> list[Row]:
    """The same number of iterations by a bare loop, by the layer at two rates of checking, and by torchdeq."""
    steps = case.forward_steps if iterations is None else iterations
    parameters = list(case.g.parameters())
    forward: dict[str, Callable[[], object]] = {"bare": lambda: bare_solve(case, steps)}
    backward: dict[str, Callable[[], object]] = {}
    before: dict[str, Callable[[], None]] = {}
    graph: dict[str, Any] = {}
    checks = {"layer": "auto", "layer, every iteration checked": 1}

    x_hat = bare_solve(case, steps).requires_grad_()

    def prepare_bare() -> None:
        graph["bare"] = case.g.inject(case.z)

    def bare_backward() -> list[Tensor]:
        out = case.g(x_hat, graph["bare"])
        return list(torch.autograd.grad(out, parameters, bare_vjps(out, x_hat, case.v, steps)))

    backward["bare"], before["bare"] = bare_backward, prepare_bare

    for name, check in checks.items():
        solver = fixed_number(steps, check)
        layer = case.layer(solver, fpi.BackwardFPI(solver))

        def solve(layer: fpi.FPILayer = layer) -> None:
            with torch.no_grad():
                layer(case.z)

        def prepare(layer: fpi.FPILayer = layer, name: str = name) -> None:
            graph[name] = layer(case.z)

        forward[name] = solve
        before[name] = prepare
        backward[name] = lambda name=name: torch.autograd.grad(graph[name], parameters, case.v)  # type: ignore[misc]

    if importlib.util.find_spec("torchdeq") is not None:
        from torchdeq import get_deq

        deq = get_deq(
            core="indexing", ift=True, f_solver="fixed_point_iter", b_solver="fixed_point_iter", f_tol=0.0, b_tol=0.0,
            f_max_iter=steps, b_max_iter=steps, f_stop_mode="rel", b_stop_mode="rel",
        )  # fmt: skip

        def deq_solve() -> Tensor:
            source = case.g.inject(case.z)
            with repeated({}):
                return deq(lambda x: case.g(x, source), case.x0)[0][0]  # type: ignore[no-any-return]

        def deq_prepare() -> None:
            graph["torchdeq"] = deq_solve()

        def deq_forward() -> None:
            with torch.no_grad():
                deq_solve()

        forward["torchdeq"], before["torchdeq"] = deq_forward, deq_prepare
        backward["torchdeq"] = lambda: torch.autograd.grad(graph["torchdeq"], parameters, case.v)
    rows = []
    for kind, runs, preparation in (("forward", forward, None), ("backward", backward, before)):
        times = interleaved(runs, 6 * repeats, preparation, budget=8.0)  # a ratio of some per cent: many rounds
        others = [name for name in runs if name != "bare"]
        rows += [Row(f"overhead, {kind}, {steps} iterations, {case.title}", times, name, "bare") for name in others]
    return rows


def evaluation(case: Case, repeats: int, steps: int = 20) -> list[Row]:
    """One evaluation of g in torch and, compiled, in XLA, as in a loop of ``steps``.

    What a difference in time owes to the matrix library.
    """
    if not jax_maps.available():
        return []
    import jax

    inject, g, _ = jax_maps.maps(case)
    parameters, z, x = jax_maps.to_jax((dict(case.g.named_parameters()), case.z, case.v))
    source = jax.jit(inject)(parameters, z)
    loop = jax.jit(lambda p, x, source: jax.lax.fori_loop(0, steps, lambda _, x: g(p, x, source), x))
    with torch.no_grad():
        torch_source = case.g.inject(case.z)

    def in_torch() -> None:
        x = case.v
        with torch.no_grad(), repeated({}):
            for _ in range(steps):
                x = case.g(x, torch_source)

    runs = {"torch": in_torch, "XLA": lambda: jax.block_until_ready(loop(parameters, x, source))}
    seconds = {name: time / steps for name, time in interleaved(runs, 4 * repeats).items()}
    return [Row(f"one evaluation of g, {case.title}", seconds, "torch", "XLA")]


def memory(case: Case, few: int = 100, many: int = 10_000) -> Row:
    """Peak bytes of live tensors in one forward and backward pass of few and of many iterations."""

    def peak(iterations: int) -> float:
        solver = fixed_number(iterations, 1)
        layer = case.layer(solver, fpi.BackwardFPI(solver))
        return peak_bytes(lambda: case.loss(layer(case.z)).backward())

    peak(2)
    values = {f"{many} iterations": peak(many), f"{few} iterations": peak(few)}
    case.g.zero_grad()
    return Row(f"peak memory (bytes), {case.title}", values, f"{many} iterations", f"{few} iterations")


def compaction(case: Case, repeats: int, tolerance: float = 1e-5) -> list[Row]:
    """The same solve with converged samples leaving the working batch and with the whole batch carried on."""
    options: dict[str, Any] = {"criterion": fpi.Relative(tolerance**2), "max_iter": case.max_iter}
    rows = []
    for kind in (fpi.Picard, fpi.Anderson):
        solver = kind(**options)
        layers = {"compacted": case.layer(solver), "whole": case.layer(dataclasses.replace(solver, compact=False))}
        forward = {name: lambda layer=layer: _no_grad(layer, case.z) for name, layer in layers.items()}
        times = interleaved(forward, repeats, budget=8.0)  # type: ignore[arg-type]
        rows.append(Row(f"compaction, forward, {kind.__name__} to {tolerance:g}, {case.title}", times, *_ORDER))
    return rows


_ORDER = ("whole", "compacted")


def _no_grad(layer: fpi.FPILayer, z: Any) -> None:
    with torch.no_grad():
        layer(z)
