"""Optical flow: the operators, what the FPI layer adds to FlowNetS, and the energy's layer run to convergence.

Compares, interleaved in one process: the cost volume (radius 4) with torchvision's for RAFT, and the warp with a bare
`grid_sample` on a grid at hand (same values, checked to 1e-5 in float64); a training step of FlowNetS + FPI with one of
FlowNetS; the energy's closed-form gradient with autograd; Picard's iteration, Anderson's and L-BFGS on 436 × 1024
pixels to one criterion, with their evaluations; and the bytes alive in a solve and its backward pass with 1,000 against
10 steps.

    python scripts/bench/flow.py --json results/published/bench/flow.json
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from common import Row, interleaved, peak_bytes, run
from torch import Tensor, nn
from torchvision.models.optical_flow.raft import CorrBlock

import fpi
from tasks.flow.energy import EnergyLayer, HornSchunck
from tasks.flow.flownet import FlowNetS
from tasks.flow.fpi_module import fpi_refinement, refined
from tasks.flow.losses import multiscale_loss
from tasks.flow.operators import cost_volume, pixel_grid, warp
from tasks.flow.unet import UNet

RADIUS = 4
TOLERANCE = 1e-8  # of the squared relative change by a gradient step: that of the row energy_implicit
CAP = 500  # iterations of a solver
HEAD_SCALE = 0.03  # of that row
CURVATURE = 10.0  # of the metric, for features whose mean squared slope is about that
STABLE = 80.0  # of the metric in which plain iteration contracts, too


def operator_rows(repeats: int) -> list[Row]:
    rows = []
    for channels, height, width in ((64, 56, 128), (128, 14, 32)):  # levels of PWC-Net for a 436 x 1024 frame
        first, second = torch.randn(2, 1, channels, height, width)
        rows.append(_correlation(first, second, repeats))
    image, flow = torch.randn(1, 32, 112, 256), 3 * torch.randn(1, 2, 112, 256)
    grid = _grid(flow)

    def bare() -> Tensor:
        return F.grid_sample(image, grid, align_corners=True)

    # in float64: in float32 the rounding of coordinates on [-1, 1] alone moves white noise by 1e-4
    image64, flow64 = image.double(), flow.double()
    expected = F.grid_sample(image64, _grid(flow64), align_corners=True)
    assert (warp(image64, flow64) - expected).abs().max() < 1e-5
    times = interleaved({"warp": _silent(warp, image, flow), "grid_sample": _silent(bare)}, repeats)
    return [*rows, Row("warp, 32 channels, 112 x 256", times, "warp", "grid_sample")]


def _grid(flow: Tensor) -> Tensor:
    """Where a 112 x 256 image is read, on [-1, 1]."""
    size = torch.tensor([255.0, 111.0], dtype=flow.dtype)
    return ((pixel_grid(flow) + flow).permute(0, 2, 3, 1) * (2 / size) - 1).contiguous()


def _correlation(first: Tensor, second: Tensor, repeats: int) -> Row:
    """torchvision's block correlates all pairs of pixels, then reads the neighbourhood of each."""
    channels, height, width = first.shape[1:]
    block, centre, side = CorrBlock(num_levels=1, radius=RADIUS), pixel_grid(first), 2 * RADIUS + 1

    def torchvision() -> Tensor:
        block.build_pyramid(first, second)
        return block.index_pyramid(centre)

    # its volume is divided by the root of C, ours by C, and it has dx before dy
    theirs = torchvision().reshape(1, side, side, height, width).transpose(1, 2).flatten(1, 2) / channels**0.5
    assert (cost_volume(first, second, RADIUS) - theirs).abs().max() < 1e-5
    contestants = {"cost volume": _silent(cost_volume, first, second, RADIUS), "torchvision": _silent(torchvision)}
    name = f"cost volume, {channels} channels, {height} x {width}"
    return Row(name, interleaved(contestants, repeats), "cost volume", "torchvision")


def flownet_rows(repeats: int) -> list[Row]:
    """One training step on one pair of 320 x 448, the paper's crop."""
    frames, truth = torch.rand(2, 1, 3, 320, 448), 5 * torch.randn(1, 2, 320, 448)
    valid = torch.ones(1, 1, 320, 448, dtype=torch.bool)
    solver = fpi.Picard(criterion=fpi.Relative(1e-13, scope="batch"), max_iter=50)

    def step(refinement: nn.Module | None) -> Callable[[], None]:
        torch.manual_seed(0)
        model = refined(FlowNetS(), refinement)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

        def train() -> None:
            optimizer.zero_grad()
            multiscale_loss(model(*frames), truth, valid).backward()
            optimizer.step()

        return train

    contestants = {"FlowNetS + FPI": step(fpi_refinement(solver, fpi.BackwardFPI(solver))), "FlowNetS": step(None)}
    times = interleaved(contestants, repeats)
    return [Row("training step, one pair of 320 x 448", times, "FlowNetS + FPI", "FlowNetS")]


def make(height: int, width: int, **options: Any) -> tuple[HornSchunck, tuple[Tensor, Tensor], Tensor]:
    """The thesis' energy with its initial features, smooth frames a pixel apart, and a rough initial flow."""
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, height // 8, width // 8)
    wide = F.interpolate(coarse, size=(height, width + 1), mode="bicubic").clamp(0, 1)
    start = F.interpolate(torch.randn(1, 2, height // 16, width // 16), size=(height, width), mode="bicubic")
    energy = HornSchunck(UNet(head_scale=HEAD_SCALE), **options)
    return energy, (wide[..., 1:].contiguous(), wide[..., :-1].contiguous()), start


def gradient_rows(repeats: int) -> list[Row]:
    energy, frames, start = make(436, 1024)
    with torch.no_grad():
        injected = energy.inject(frames)

    def autograd() -> None:
        leaf = start.clone().requires_grad_()
        torch.autograd.grad(energy(leaf, injected).sum(), leaf)

    contestants = {"closed form": _silent(energy.gradient, start, injected), "autograd": autograd}
    return [Row("gradient of the energy, 436 x 1024", interleaved(contestants, repeats), "closed form", "autograd")]


def solver_rows() -> list[Row]:
    """Solves as in the row energy_implicit, each in the metric that suits it, timed once: to the same fixed point."""
    energy, frames, start = make(436, 1024, warping="spline")
    options: dict[str, Any] = {"criterion": fpi.Relative(TOLERANCE), "max_iter": CAP, "on_failure": "ignore"}
    kinds = {"picard": (fpi.Picard, STABLE), "anderson": (fpi.Anderson, CURVATURE), "lbfgs": (fpi.LBFGS, CURVATURE)}
    times: dict[str, float] = {}
    said = []
    for name, (kind, curvature) in kinds.items():
        layer = EnergyLayer(energy, 1.0, kind(**options), fpi.BackwardFPI(fpi.BiCGStab(**options)), curvature)
        begin = time.perf_counter()
        flow = layer(frames, start)
        times[name] = time.perf_counter() - begin
        said.append(f"{name} {_effort(layer.info)}")
    title = f"FPI_GD to {TOLERANCE:.0e} on 436 x 1024 (evaluations of g: {'; '.join(said)})"
    begin = time.perf_counter()
    flow.square().mean().backward()
    both = {"backward": time.perf_counter() - begin, "forward": times["lbfgs"]}
    assert layer.info is not None
    products = f"FPI_GD by lbfgs and its backward layer by bicgstab (products: {_effort(layer.info.backward)})"
    return [Row(title, times, name, "picard") for name in ("anderson", "lbfgs")] + [
        Row(products, both, "backward", "forward")
    ]


def _effort(info: fpi.SolveInfo | None) -> str:
    assert info is not None
    end = "" if bool(info.converged.all()) else f", not converged: {float(info.residual.max()):.0e}"
    return f"{info.evaluations}{end}"


def memory_rows() -> list[Row]:
    def peak(steps: int) -> float:
        energy, frames, start = make(32, 64, warping="spline")
        solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=steps, on_failure="ignore")
        layer = EnergyLayer(energy, 1.0, solver, fpi.BackwardFPI(solver), STABLE)
        return peak_bytes(lambda: layer(frames, start).square().sum().backward())

    peak(2)
    values = {"1000 steps": peak(1000), "10 steps": peak(10)}
    return [Row("peak memory of FPI_GD, forward and backward (bytes)", values, "1000 steps", "10 steps")]


def _silent(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    def call() -> None:
        with torch.no_grad():
            function(*arguments)

    return call


def rows(repeats: int) -> list[Row]:
    """All comparisons, each the best of so many repeats."""
    few = max(2, repeats // 4)
    return operator_rows(repeats) + flownet_rows(few) + gradient_rows(few) + solver_rows() + memory_rows()


if __name__ == "__main__":
    run("flow", __doc__, rows, repeats=10)
