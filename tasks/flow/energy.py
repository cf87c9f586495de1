"""The learned Horn-Schunck energy and the layer that minimises it (thesis 6.2.2, eq. 6.2)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

import fpi
from tasks.flow.operators import Corners, corners
from tasks.flow.spectrum import Spectral
from tasks.flow.splines import Patches, patches, smooth, windows

Injected = tuple[Tensor, Tensor]
Warping = Literal["bilinear", "spline"]


class HornSchunck(nn.Module):
    """E = s Σ (J₁(x, y) − J₂(x + u, y + v))² + s λ (‖∇u‖² + ‖∇v‖²) over features J of two frames (eq. 6.2).

    J₂ is sampled bilinearly, and its border continued; ∇ are forward differences with free boundaries. The state is
    the flow, (batch, 2, height, width) in pixels. The gradient is written out, so that second derivatives exist:
    with a residual r = J₁ − J₂(x + u) and the pixels around a sample, ∂E/∂u needs their inner products ⟨r, J₂⟩ alone.

    Args:
        features: maps an image (batch, 3, height, width) to (batch, C, height, width).
        smoothness: λ (thesis: 180).
        learn_smoothness: whether λ is a parameter (log λ is), as the thesis tried.
        scale: s, which the thesis leaves open (README, D4): the mean over the pixels of a Sintel frame. The
            smoothness term alone contracts with step γ where γ s ≤ 1 / (8 λ).
        image_range: what the images' range [0, 1] is stretched to before `features` sees it; also open.
        warping: "bilinear" (thesis): the slope of E jumps where a sample crosses a pixel, so E has minima at which its
            gradient is not zero, and no fixed point. "spline": cubic B-splines of J₁ and J₂, with which E is twice
            continuously differentiable, as the implicit function theorem asks.
    """

    def __init__(
        self,
        features: nn.Module,
        smoothness: float = 180.0,
        learn_smoothness: bool = False,
        scale: float = 1 / (436 * 1024),
        image_range: float = 255.0,
        warping: Warping = "bilinear",
    ) -> None:
        super().__init__()
        if warping not in ("bilinear", "spline"):
            raise ValueError(f"HornSchunck: warping must be 'bilinear' or 'spline', got {warping!r}")
        for name, value in (("smoothness", smoothness), ("scale", scale), ("image_range", image_range)):
            if not value > 0:
                raise ValueError(f"HornSchunck: {name} must be > 0, got {value!r}")
        self.features = features
        log_smoothness = torch.tensor(math.log(smoothness))
        if learn_smoothness:
            self.log_smoothness = nn.Parameter(log_smoothness)
        else:
            self.register_buffer("log_smoothness", log_smoothness)
        self.scale, self.image_range, self.warping = scale, image_range, warping

    def inject(self, frames: tuple[Tensor, Tensor]) -> Injected:
        """Features of both frames, (batch, height · width, C) each: one row a pixel."""
        first, second = (self.image_range * frame for frame in frames)
        one, two = self.features(torch.cat([first, second])).split(len(first))
        if self.warping == "spline":
            return _rows(smooth(one)), windows(two)
        return _rows(one), _rows(two)

    def forward(self, x: Tensor, injected: Injected) -> Tensor:
        """E, shape (batch,)."""
        residual = self._residual(*self._sample(x, injected[1]), injected[0])
        return self._value(x, residual)

    def gradient(self, x: Tensor, injected: Injected) -> Tensor:
        """∂E/∂(u, v), the shape of x."""
        at, around = self._sample(x, injected[1])
        return self._gradient(x, at, around, self._residual(at, around, injected[0]))

    def value_and_gradient(self, x: Tensor, injected: Injected) -> tuple[Tensor, Tensor]:
        """Both, with one sampling."""
        at, around = self._sample(x, injected[1])
        residual = self._residual(at, around, injected[0])
        return self._value(x, residual), self._gradient(x, at, around, residual)

    def _sample(self, x: Tensor, second: Tensor) -> tuple[Corners | Patches, Tensor]:
        """The sampling points, and J₂ at the pixels around each: (batch · height · width, 4 or 16, C)."""
        at, wide = (corners(x), 1) if self.warping == "bilinear" else (patches(x), 4)
        rows = second.reshape(-1, second.shape[-1])
        return at, rows.index_select(0, at.rows.reshape(-1)).reshape(-1, 4 * wide, rows.shape[1] // wide)

    def _residual(self, at: Corners | Patches, around: Tensor, first: Tensor) -> Tensor:
        """J₁ − J₂(x + u): (batch · height · width, 1, C)."""
        return torch.baddbmm(first.reshape(-1, 1, first.shape[-1]), at.weights[:, None], around, alpha=-1)

    def _value(self, x: Tensor, residual: Tensor) -> Tensor:
        data = residual.reshape(len(x), -1).square().sum(1)
        across, down = x.diff(dim=3), x.diff(dim=2)
        roughness = across.square().sum((1, 2, 3)) + down.square().sum((1, 2, 3))
        return self.scale * (data + self.log_smoothness.exp() * roughness)

    def _gradient(self, x: Tensor, at: Corners | Patches, around: Tensor, residual: Tensor) -> Tensor:
        products = torch.bmm(around, residual.mT)[:, :, 0]
        data = at.slopes(products).reshape(len(x), *x.shape[2:], 2).permute(0, 3, 1, 2)
        return 2 * self.scale * (self.log_smoothness.exp() * _minus_laplacian(x) - data)


def _rows(image: Tensor) -> Tensor:
    """(batch, C, height, width) -> (batch, height · width, C)."""
    return image.flatten(2).mT.contiguous()


def _minus_laplacian(x: Tensor) -> Tensor:
    """∇ᵀ∇ x with forward differences and free boundaries: half the gradient of ‖∇x‖²."""
    pad = torch.nn.functional.pad
    across, down = x.diff(dim=3), x.diff(dim=2)
    return pad(across, (1, 0)) - pad(across, (0, 1)) + pad(down, (0, 0, 1, 0)) - pad(down, (0, 0, 0, 1))


class EnergyLayer(fpi.FPI_GD):
    """The layer `layer((frame1, frame2), flow)`: gradient descent on an energy from an initialiser's flow.

    Args:
        energy: E.
        step_size: γ (thesis: 1).
        solver: of the forward layer.
        adjoint: `fpi.Unrolled()` records the steps, as the thesis did; `fpi.BackwardFPI(...)` (default) needs a
            converged solve, and no memory for its steps.
        curvature: descend in the metric of `tasks.flow.spectrum.Spectral`, whose d it is; None: in the pixels' own, as
            the thesis.
    """

    def __init__(
        self,
        energy: HornSchunck,
        step_size: float,
        solver: fpi.Solver,
        adjoint: fpi.Adjoint | None = None,
        curvature: float | None = None,
    ) -> None:
        spectral = None if curvature is None else Spectral(energy, curvature)
        super().__init__(spectral or energy, step_size=step_size, solver=solver, adjoint=adjoint)

    def forward(self, frames: tuple[Tensor, Tensor], x0: Tensor, c0: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The flow, (batch, 2, height, width) in pixels, from the flow x0; c0 as for `fpi.FPILayer`."""
        return self.flow(super().forward(frames, self.state(x0), c0))

    def state(self, flow: Tensor) -> Tensor:
        """What the solver iterates, for a flow."""
        energy: Any = self.g.energy
        return energy.coordinates(flow) if isinstance(energy, Spectral) else flow

    def flow(self, state: Tensor) -> Tensor:
        """The flow of a state."""
        energy: Any = self.g.energy
        return energy.flow(state) if isinstance(energy, Spectral) else state
