"""The rows of table 6.1: networks and one classical method that map noisy gray images to denoised ones.

All take and return float32 images of shape (batch, 1, height, width) with values on [0, 1] (noise may leave it).
Short names are the paper's: x the state (the denoised image), z the input (the noisy one).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import fpi
from tasks.denoising.convolution import SameConv2d

CPU_PIXELS = 2**15  # solved together on a CPU: with more, the hidden images leave its cache


def two_convolutions(inputs: int, channels: int, kernel_size: int, init_scale: float) -> nn.Sequential:
    """conv(inputs → channels), ReLU, conv(channels → 1), PyTorch's initial weights and biases times ``init_scale``."""
    net = nn.Sequential(
        SameConv2d(inputs, channels, kernel_size), nn.ReLU(inplace=True), SameConv2d(channels, 1, kernel_size)
    )
    fpi.contraction.scale_parameters_(net, init_scale)
    return net


class Denoiser(nn.Module):
    """What all rows have: ``forward``, and hooks of the training that do nothing unless a row needs them.

    Attributes:
        g_evaluations: evaluations of g on a batch (products with its Jacobian included) since it was set to 0.
        architecture: what a checkpoint must say to be loaded into this network.
    """

    def __init__(self, **architecture: Any) -> None:
        super().__init__()
        self.g_evaluations = 0.0
        self.architecture: dict[str, Any] = {"network": type(self).__name__, **architecture}

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before every training epoch."""

    def after_step(self) -> None:
        """Called after every optimiser step."""

    def solver_metrics(self) -> dict[str, float]:
        """Means over the samples of the latest batch, its backward pass included."""
        return {}


class FeedForward(Denoiser):
    """The baseline: x = conv(relu(conv(z))), g's structure without the state.

    Args:
        channels: intermediate channels (thesis: 32).
        kernel_size: of both convolutions (the thesis does not say).
        init_scale: factor on PyTorch's initial parameters.
    """

    def __init__(self, channels: int, kernel_size: int, init_scale: float) -> None:
        super().__init__(channels=channels, kernel_size=kernel_size)
        self.net = two_convolutions(1, channels, kernel_size, init_scale)

    def forward(self, z: Tensor) -> Tensor:
        self.g_evaluations += 2 if torch.is_grad_enabled() else 1
        x: Tensor = self.net(z)
        return x


class FPIDenoiser(Denoiser):
    """FPI_NN: x̂ is the fixed point of x = conv(relu(conv([x, z]))), started at 0 (thesis 6.1).

    Args:
        channels, kernel_size, init_scale: as for `FeedForward`.
        solver, adjoint: how the layer is solved and differentiated.
        lipschitz: bound on ‖∂g/∂x‖ kept after every optimiser step by scaling the first convolution's x-part; None
            leaves the layer unconstrained, as in the thesis.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        init_scale: float,
        solver: fpi.Solver,
        adjoint: fpi.Adjoint,
        lipschitz: float | None = None,
    ) -> None:
        super().__init__(channels=channels, kernel_size=kernel_size)
        if lipschitz is not None and not lipschitz > 0:
            raise ValueError(f"lipschitz must be above 0 or null, got {lipschitz}")
        net = two_convolutions(2, channels, kernel_size, init_scale)
        self.layer: fpi.FPI_NN = fpi.FPI_NN(net, solver=solver, adjoint=adjoint)
        self.lipschitz = lipschitz
        self.infos: list[fpi.SolveInfo] = []
        self.after_step()

    def forward(self, z: Tensor) -> Tensor:
        """x̂ for every image; on a CPU few images are solved at a time, which changes nothing but the speed."""
        together = max(1, CPU_PIXELS // z[0].numel()) if z.device.type == "cpu" else len(z)
        found, self.infos = [], []
        for part in z.split(together):
            found.append(self.layer(part))
            assert self.layer.info is not None
            self.infos.append(self.layer.info)
            self.g_evaluations += self.layer.info.evaluations * len(part) / len(z)
        return torch.cat(found)

    def after_step(self) -> None:
        """Project back onto the contraction budget."""
        if self.lipschitz is not None:
            fpi.contraction.limit_lipschitz_(self.layer, 1, self.lipschitz)

    def solver_metrics(self) -> dict[str, float]:
        backward = [info.backward for info in self.infos if info.backward is not None]
        self.g_evaluations += sum(info.evaluations for info in backward) / max(1, len(backward))
        return _summary("forward", self.infos) | (_summary("backward", backward) if backward else {})


def _summary(direction: str, infos: list[fpi.SolveInfo]) -> dict[str, float]:
    def mean(name: str) -> float:
        return float(torch.cat([getattr(info, name).float() for info in infos]).mean())

    return {f"{direction}_{name}": mean(name) for name in ("iterations", "residual", "converged")}


class NonLocalMeans(Denoiser):
    """Non-local means (Buades et al. 2005; scikit-image's fast version) with the noise level known.

    Its filter strength h is factor · σ.  Nothing is trained: each epoch tries one factor, and the epoch that validates
    best is kept, as for the networks.

    Args:
        sigma: the noise's standard deviation in grey levels of 255.
        factors: candidates, one an epoch; further epochs repeat the last.
        patch_size, patch_distance: side of the patches compared, and how far away they may lie, in pixels.
    """

    factor: Tensor

    def __init__(self, sigma: float, factors: list[float], patch_size: int = 5, patch_distance: int = 6) -> None:
        super().__init__(patch_size=patch_size, patch_distance=patch_distance)
        self.sigma, self.factors = sigma / 255, tuple(factors)
        self.patch_size, self.patch_distance = patch_size, patch_distance
        self.register_buffer("factor", torch.tensor(self.factors[0]))

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.factor.fill_(self.factors[min(epoch, len(self.factors) - 1)])

    def forward(self, z: Tensor) -> Tensor:
        from skimage.restoration import denoise_nl_means

        options = {"patch_size": self.patch_size, "patch_distance": self.patch_distance, "fast_mode": True}
        h = float(self.factor) * self.sigma
        images = [denoise_nl_means(image, h=h, sigma=self.sigma, **options) for image in z[:, 0].cpu().numpy()]
        return torch.from_numpy(np.stack(images)[:, None]).to(z)
