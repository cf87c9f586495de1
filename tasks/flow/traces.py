"""What a trained flow row leaves for its figures: examples, convergence of both layers, EPE along gradient steps."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fpi
from tasks.engine.store import atomic_write
from tasks.flow.energy import EnergyLayer
from tasks.flow.initialisers import Initialiser
from tasks.flow.losses import mean_epe

Batch = dict[str, Any]
Flows = dict[int, np.ndarray]  # step -> flow (2, height, width)
KEPT_STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@torch.no_grad()
def write_examples(path: Path, pairs: list[Batch], estimate: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Write names, and frame1_<i> (bytes), truth_<i>, valid_<i>, flow_<i> (half precision) of each pair."""
    names = [batch.get("name", [f"pair {i + 1}"])[0] for i, batch in enumerate(pairs)]
    content: dict[str, np.ndarray] = {"names": np.array(names)}
    for i, batch in enumerate(pairs):
        flow = estimate(batch["frame1"], batch["frame2"])
        content[f"frame1_{i}"] = (255 * batch["frame1"][0]).round().byte().cpu().numpy()
        content[f"truth_{i}"] = batch["flow"][0].half().cpu().numpy()
        content[f"valid_{i}"] = batch["valid"][0].cpu().numpy()
        content[f"flow_{i}"] = flow[0].half().cpu().numpy()
    _write(path, content)


def write_path(path: Path, flows: Flows) -> None:
    """Write flow_<step> (half precision)."""
    _write(path, {f"flow_{step}": flow.astype(np.float16) for step, flow in flows.items()})


def convergence(layer: fpi.FPILayer, loss: Callable[[], Tensor]) -> list[dict[str, float]]:
    """Rows of check, forward, backward: the largest residual of the samples at every check of both solves.

    A backward solve is there if the layer's adjoint iterates. Leaves no gradients behind.
    """
    solver, adjoint = layer.solver, layer.adjoint
    try:
        layer.solver = replace(solver, trace=True)
        if isinstance(adjoint, fpi.BackwardFPI):
            layer.adjoint = fpi.BackwardFPI(replace(adjoint.solver or fpi.Picard(), trace=True))
        with torch.enable_grad():
            parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
            torch.autograd.grad(loss(), parameters, allow_unused=True)
    finally:
        layer.solver, layer.adjoint = solver, adjoint
    info = layer.info
    assert info is not None
    solves = {"forward": info} | ({} if info.backward is None else {"backward": info.backward})
    rows: dict[int, dict[str, float]] = {}
    for name, solve in solves.items():
        for check, residual in enumerate(solve.trace, 1):
            rows.setdefault(check, {"check": check})[name] = float(residual.detach().max())
    return [rows[check] for check in sorted(rows)]


@torch.no_grad()
def along_steps(
    layer: EnergyLayer, initialiser: Initialiser, batches: Iterable[Batch], steps: int
) -> tuple[list[dict[str, float]], Flows]:
    """Plain gradient steps of the layer, in its own metric, from the initialiser's flow, whatever its solver.

    Returns:
        Rows of step, test_epe (pixels) and energy, means over the pairs, for steps 0 ... `steps`; and the first pair's
        flow after some of them.
    """
    g: Any = layer.g
    errors, energies, path = torch.zeros(steps + 1), torch.zeros(steps + 1), {}
    pairs = 0
    for index, batch in enumerate(batches):
        x = layer.state(initialiser(batch["frame1"], batch["frame2"]))
        injected = g.inject((batch["frame1"], batch["frame2"]))
        found = []
        for step in range(steps + 1):
            flow = layer.flow(x)
            found.append((mean_epe(flow, batch["flow"], batch["valid"]).mean(), g.energy(x, injected).mean()))
            if index == 0 and step in KEPT_STEPS:
                path[step] = flow[0].cpu().numpy()
            x = g(x, injected)
        error, energy = torch.tensor(found).unbind(1)
        if bool(torch.isfinite(error).all()):
            errors, energies, pairs = errors + error, energies + energy, pairs + 1
    return [
        {"step": step, "test_epe": float(errors[step]) / pairs, "energy": float(energies[step]) / pairs}
        for step in range(steps + 1)
        if pairs
    ], path


def _write(path: Path, content: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content)  # type: ignore[arg-type]
    atomic_write(path, buffer.getvalue())
