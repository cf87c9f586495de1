"""The encoder's mean replaced by FPI_GD: the latent whose image is nearest to y (thesis eqs. 6.4, 6.5, figure 6.9)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.vae.networks import SLOPE, Decoder, Layer, decode

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
        return self._reduced(decode(x, [tuple(t[0] for t in layer) for layer in layers]) - image)

    def _reduced(self, difference: Tensor) -> Tensor:
        squares = difference.square().flatten(1)
        return squares.sum(1) if self.reduction == "sum" else squares.mean(1)


class FoldedEnergy(ReconstructionEnergy):
    """The same for a decoder without batch normalisation (`layers("running")`), with its gradient written out.

    Products with the Hessian, which the backward layer is made of, are then first derivatives of convolutions:
    autograd's second derivatives of transposed convolutions take half as long again.
    """

    def gradient(self, x: Tensor, source: tuple[Tensor, list[Layer]]) -> Tensor:
        """∂f/∂x, the shape of x."""
        return self.value_and_gradient(x, source)[1]

    def value_and_gradient(self, x: Tensor, source: tuple[Tensor, list[Layer]]) -> tuple[Tensor, Tensor]:
        """f and ∂f/∂x: `decode`, then its layers backwards, each convolution's transpose being another convolution."""
        target, layers = source
        (weight, bias), *blocks, (last_weight, last_bias) = [(layer[0][0], layer[1][0]) for layer in layers]
        channels = blocks[0][0].shape[0]
        side = round((weight.shape[0] / channels) ** 0.5)
        hidden, inputs = F.linear(x, weight, bias).unflatten(1, (channels, side, side)), []
        for kernel, shift in blocks:
            inputs.append(F.conv_transpose2d(hidden, kernel, shift, stride=2, padding=1, output_padding=1))
            hidden = F.leaky_relu(inputs[-1], SLOPE)
        image = torch.tanh(F.conv2d(hidden, last_weight, last_bias, padding=1))
        difference = image - target
        scale = 2.0 if self.reduction == "sum" else 2.0 / image[0].numel()
        flow = scale * difference * (1 - image * image)
        flow = F.conv_transpose2d(flow, last_weight, padding=1)
        for (kernel, _), u in zip(reversed(blocks), reversed(inputs), strict=True):
            flow = torch.ops.aten.leaky_relu_backward(flow, u, SLOPE, False)
            flow = F.conv2d(flow, kernel, stride=2, padding=1)
        return self._reduced(difference), flow.flatten(1) @ weight


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
        energy = FoldedEnergy(reduction) if batch_norm == "running" else ReconstructionEnergy(reduction)
        self.layer = fpi.FPI_GD(energy, step_size=step_size, solver=solver, adjoint=adjoint)
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
