"""Fixed Point Networks S(u) with u = R(u, Q(d)), and their explicit counterparts S(R(0, Q(d))), of the same parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import fpi
from tasks.classification.architectures import ARCHITECTURES

SAMPLED = 16  # samples whose Jacobian's norm is measured


class NotAContractionError(RuntimeError):
    """A solve failed, and the network operator's Jacobian was measured to have a norm of 1 or more."""


class Classifier(nn.Module):
    """Images ↦ outputs of shape (batch, 10) (eqs. 1 and 2 of the paper).

    Args:
        architecture: a name of `tasks.classification.architectures.ARCHITECTURES`.
        image_shape: channels, height and width of the images.
        solver, adjoint: how the fixed point is found and differentiated. One iteration and `fpi.Unrolled()` make the
            explicit network, with one application of R to u = 0.
        bound: on the norm of the linear maps that u passes, kept by a spectral budget; None: unconstrained. (A monotone
            operator network has a unique solution at any norm and takes no bound.)

    Attributes:
        layer: the `fpi.FPILayer`; its `g` is R.
        g_evaluations: evaluations of R on a batch since it was set to 0, products with its Jacobian included.
        jacobian_products: products with R's Jacobian or its transpose, one a sample, since it was set to 0.

    Raises:
        ValueError: an unknown architecture or a bound that is not positive; in `forward`, images of another shape.
        NotAContractionError: in `forward`, a solve failed and R is no contraction; with the measured norm.
    """

    def __init__(
        self,
        architecture: str,
        image_shape: Sequence[int],
        solver: fpi.Solver,
        adjoint: fpi.Adjoint,
        bound: float | None = 1.0,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"task.architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
        if bound is not None and not bound > 0:
            raise ValueError(f"task.bound must be above 0 (1.0: R contracts), or null for none, got {bound}")
        channels, height, width = image_shape
        self.image_shape = (int(channels), int(height), int(width))
        parts = ARCHITECTURES[architecture](self.image_shape, bound)
        self.features, self.head = parts.features, parts.head
        self.layer: fpi.FPILayer = fpi.FPILayer(parts.operator, solver=solver, adjoint=adjoint)
        self.g_evaluations, self.jacobian_products = 0.0, 0.0

    @property
    def implicit(self) -> bool:
        """Whether the fixed point is solved for."""
        return not isinstance(self.layer.adjoint, fpi.Unrolled)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.latents(images))
        return outputs

    def latents(self, images: Tensor) -> Tensor:
        """u, (batch, latent)."""
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"the network takes images of shape {self.image_shape} (channels, height, width), got "
                f"{tuple(images.shape[1:])}: set method.network.image_shape to that of the data, or choose the data "
                "the architecture was made for"
            )
        v = self.features(images.contiguous(memory_format=torch.channels_last))
        try:
            u: Tensor = self.layer(v)
        except fpi.FixedPointError as error:
            raise self._explained(torch.zeros_like(v), v, error) from error
        info = self.layer.info
        assert info is not None
        self.g_evaluations += info.evaluations
        if self.implicit and not bool(info.converged.all()):
            failed = ~info.converged
            self._refuse_expansion(u[failed], v[failed], str(info))
        return u

    def measured_norm(self, u: Tensor, v: Tensor) -> float:
        """The largest ‖∂R/∂u‖₂ at (u, v), measured at the first few samples."""
        u, v = u[:SAMPLED].detach(), v[:SAMPLED].detach()
        g: Any = self.layer.g
        return float(fpi.contraction.jacobian_norm(g, u, g.inject(v) if hasattr(g, "inject") else v).max())

    def count_products(self) -> None:
        """Add what the latest backward pass cost to the counters."""
        info = self.layer.info
        if info is not None and info.backward is not None:
            self.g_evaluations += info.backward.evaluations
            self.jacobian_products += info.backward.sample_evaluations

    def solver_metrics(self) -> dict[str, float]:
        """Means over the samples of the latest batch, its backward pass included; nothing for an explicit network."""
        info = self.layer.info
        found: dict[str, float] = {}
        if not self.implicit or info is None:
            return found
        for direction, one in (("forward", info), ("backward", info.backward)):
            if one is not None:
                found[f"{direction}_iterations"] = float(one.iterations.float().mean())
                found[f"{direction}_converged"] = float(one.converged.float().mean())
        return found

    @contextmanager
    def differentiated_by(self, adjoint: fpi.Adjoint) -> Iterator[None]:
        """Another adjoint for as long as the block lasts."""
        own, self.layer.adjoint = self.layer.adjoint, adjoint
        try:
            yield
        finally:
            self.layer.adjoint = own

    def _explained(self, u: Tensor, v: Tensor, error: fpi.FixedPointError) -> Exception:
        try:
            self._refuse_expansion(u, v, str(error))
        except NotAContractionError as explained:
            return explained
        return error

    def _refuse_expansion(self, u: Tensor, v: Tensor, what: str) -> None:
        norm = self.measured_norm(u, v)
        if norm >= 1:
            raise NotAContractionError(
                f"the network operator is not a contraction: the norm of its Jacobian was measured to be {norm:.3g} "
                f"and must be below 1. The solve failed: {what} Fix: set task.bound to 1.0 or less."
            )
