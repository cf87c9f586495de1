"""One fixed-point problem of the comparison, and the truth that the contestants are judged by."""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import fpi
from fpi.layers import GradientStep

SEED = 0


@dataclass
class Case:
    """One problem: x̂ = g(x̂, inject(z)), and the cotangent ``v`` with which gradients are asked for.

    Attributes:
        form: which formula g is ("mlp", "conv", "energy" or "rates"): the peers outside torch write it anew.
        max_iter: cap on the iterations of every contestant.
        forward_steps: iterations of the overhead measurement.
        targets: the residuals to which the time is measured.
        gradients: are gradients compared?  Not where the minimum of an energy lies at infinity: there is none.
    """

    name: str
    title: str
    form: str
    g: Any
    z: Any
    x0: Tensor
    max_iter: int
    forward_steps: int = 50
    gradients: bool = True
    targets: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    v: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.v = torch.randn(self.x0.shape, generator=torch.Generator().manual_seed(SEED + 1))
        self.exact = copy.deepcopy(self.g).double()  # judges the contestants in float64
        with torch.no_grad():
            self.exact_source = self.exact.inject(pytree.tree_map(lambda leaf: leaf.double(), self.z))

    @property
    def energy(self) -> bool:
        """Is g a gradient step, so that energy-based solvers apply?"""
        return isinstance(self.g, GradientStep)

    def layer(self, solver: fpi.Solver, adjoint: fpi.Adjoint | None = None) -> fpi.FPILayer:
        """The problem as a layer of this library."""
        return fpi.FPILayer(self.g, state_shape=self.x0.shape[1:], solver=solver, adjoint=adjoint)

    @torch.no_grad()
    def residual(self, x: Tensor) -> float:
        """The true ‖g(x) − x‖ / ‖x‖, the largest over the samples, in float64."""
        x = x.double()
        change = (self.exact(x, self.exact_source) - x).flatten(1).norm(dim=1)
        worst = float((change / x.flatten(1).norm(dim=1)).max())
        return worst if math.isfinite(worst) else math.inf

    @torch.no_grad()
    def mean_energy(self, x: Tensor) -> float | None:
        """Mean energy at x: a state that merely lies on a plateau shows here."""
        return float(self.exact.energy(x.double(), self.exact_source).mean()) if self.energy else None

    @cached_property
    def lowest_energy(self) -> float:
        """The mean energy that a tight solve in float64 reaches."""
        layer = self._reference_layer()
        layer.solver = dataclasses.replace(layer.solver, max_iter=1000)
        with torch.no_grad():
            x = layer(pytree.tree_map(lambda leaf: leaf.double(), self.z))
        lowest = self.mean_energy(x)
        assert lowest is not None
        return lowest

    @property
    def error_name(self) -> str:
        """What :meth:`error` measures, for the axis of a figure."""
        residual = "residual ‖g(x) − x‖ / ‖x‖ (worst sample)"
        return f"larger of {residual}\nand excess of the mean energy (relative)" if self.energy else residual

    def error(self, x: Tensor) -> float:
        """What must fall below a target: the residual; with an energy also its relative excess over the lowest.

        An energy of saturating units is flat far out: there the residual is 0, at no minimum.
        """
        energy = self.mean_energy(x)
        return self.residual(x) if energy is None else max(self.residual(x), energy / self.lowest_energy - 1)

    def loss(self, x: Tensor) -> Tensor:
        """L = Σ v·x̂; for the energy, whose state are logits, Σ v·sigmoid(x̂)."""
        return (self.v.to(x.dtype) * (torch.sigmoid(x) if self.energy else x)).sum()

    def _reference_layer(self) -> fpi.FPILayer:
        """Tight solves in float64, dense adjoints where the state is small enough for them."""
        options: dict[str, Any] = {"criterion": fpi.Relative(1e-20), "max_iter": 20_000, "on_failure": "ignore"}
        solver = fpi.LBFGS(**options) if self.energy else fpi.Anderson(**options)
        adjoint = fpi.Dense() if self.form in ("energy", "rates") else fpi.BackwardFPI(solver)
        return fpi.FPILayer(self.exact, state_shape=self.x0.shape[1:], solver=solver, adjoint=adjoint)

    @cached_property
    def scale(self) -> float:
        """‖x̂‖ over the whole batch (of a state near x̂, where that is at infinity)."""
        layer = self._reference_layer()
        layer.solver = dataclasses.replace(layer.solver, criterion=fpi.Relative(1e-8))
        with torch.no_grad():
            return float(layer(pytree.tree_map(lambda leaf: leaf.double(), self.z)).norm())

    @cached_property
    def gradient(self) -> Tensor:
        """∂L/∂θ in float64, flat: what the contestants are judged by."""
        x = self._reference_layer()(pytree.tree_map(lambda leaf: leaf.double(), self.z))
        return flat(torch.autograd.grad(self.loss(x), list(self.exact.parameters())))


def flat(tensors: Any) -> Tensor:
    """One float64 vector of all entries."""
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in tensors])
