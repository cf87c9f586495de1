"""The encoder's mean replaced by FPI_GD: the latent whose image is nearest to y (thesis eqs. 6.4, 6.5, figure 6.9)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

import fpi
from tasks.vae.networks import Decoder, Layer, decode

Reduction = Literal["mean", "sum"]
BatchNorm = Literal["running", "batch"]


class ReconstructionEnergy(nn.Module):
    """f(x, (y, layers)) = ‖y − D(x)‖² per sample (eq. 6.4), D given by the tensors of `Decoder.layers`.

    Args:
        reduction: `"mean"` over the image's entries, or their `"sum"` (eq. 6.4 as printed).
    """

    def __init__(self, reduction: Reduction) -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"inversion.reduction must be 'mean' or 'sum', got {reduction!r}")
        self.reduction = reduction

    def forward(self, x: Tensor, source: tuple[Tensor, list[Layer]]) -> Tensor:
        """f, shape (batch,)."""
        image, layers = source
        squares = (decode(x, [tuple(t[0] for t in layer) for layer in layers]) - image).square().flatten(1)
        return squares.sum(1) if self.reduction == "sum" else squares.mean(1)


class Inversion(nn.Module):
    """x̂ = FPI_GD started at the encoder's mean x0: gradient descent on the reconstruction error of a decoder.

    Every reading of what the thesis leaves open is an argument (README).

    Args:
        solver, adjoint: of the layer (thesis: at most 30 iterations each way, eq. 5.6 at 1e-4).
        step_size: γ (thesis: 0.1).
        reduction: of the energy over an image's entries.
        batch_norm: statistics that batch normalisation uses inside the energy: the `"running"` ones, or those of the
            `"batch"`, which mixes samples (then choose a criterion with `scope="batch"`). Neither updates them.
        weight_scale: None: the energy's network is the decoder itself. A number: a separate network of its structure,
            with PyTorch's initial weights times that (thesis: 1e-3).
        detach_x0: whether x0 passes no gradient to the encoder, as a fixed point's derivative has it; False adds the
            identity, which is the derivative of so few steps up to γ times the energy's Hessian.
    """

    def __init__(
        self,
        solver: fpi.Solver,
        adjoint: fpi.Adjoint,
        step_size: float = 0.1,
        reduction: Reduction = "mean",
        batch_norm: BatchNorm = "running",
        weight_scale: float | None = None,
        detach_x0: bool = True,
    ) -> None:
        super().__init__()
        if batch_norm not in ("running", "batch"):
            raise ValueError(f"inversion.batch_norm must be 'running' or 'batch', got {batch_norm!r}")
        self.layer = fpi.FPI_GD(ReconstructionEnergy(reduction), step_size=step_size, solver=solver, adjoint=adjoint)
        self.batch_norm, self.weight_scale, self.detach_x0 = batch_norm, weight_scale, detach_x0
        self.separate: Decoder | None = None

    def build(self, hidden: tuple[int, ...], latent: int, size: int) -> None:
        """Make the separate network, if there is one, without touching the random state of the run."""
        if self.weight_scale is not None:
            with torch.random.fork_rng(devices=[]):
                self.separate = Decoder(hidden, latent, size)
            fpi.contraction.scale_parameters_(self.separate, self.weight_scale)

    def forward(self, decoder: Decoder, image: Tensor, x0: Tensor) -> Tensor:
        """x̂ of shape (batch, latent) for images and the encoder's means."""
        found: Tensor = self.layer(self.source(decoder, image), x0=x0.detach())
        return found if self.detach_x0 else found + (x0 - x0.detach())

    def source(self, decoder: Decoder, image: Tensor) -> tuple[Tensor, list[Layer]]:
        """What the energy is given beside x; weights lead with a dimension of 1: they hold no entry a sample."""
        network = decoder if self.separate is None else self.separate
        return image, [tuple(t[None] for t in layer) for layer in network.layers(self.batch_norm)]

    @property
    def info(self) -> fpi.SolveInfo | None:
        """Diagnostics of the latest solve."""
        return self.layer.info
