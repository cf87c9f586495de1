"""Row ICNN: a partially input-convex energy (Amos, Xu and Kolter 2017), trained through its unrolled minimisation.

The energy is convex in the labels y for every input x: y-dependent activations meet only non-negative weights (times
non-negative gates of x). Short names are that paper's: u the path of x, z the path of y.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Injected(NamedTuple):
    """What depends on x alone: gates of y and z, and constants, for each layer of the z-path."""

    y0: Tensor  # (batch, labels) gates of y
    y1: Tensor
    y2: Tensor
    z1: Tensor  # (batch, hidden) and (batch, labels): non-negative gates of z
    z2: Tensor
    c0: Tensor  # (batch, hidden) and (batch, labels) constants; the last layer's does not move the minimum
    c1: Tensor


class PICNN(nn.Module):
    """E(x, y) with u-path features-hidden-labels and z-path hidden-labels-1.

    Prediction: `steps` Nesterov steps on E from y = 0.5, all of which training differentiates (mean squared error).

    Args:
        features, labels, hidden: widths.
        steps, step_size, momentum: inference.
    """

    def __init__(
        self, features: int, labels: int, hidden: int = 600, steps: int = 30, step_size: float = 0.01,
        momentum: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.u0, self.norm, self.u1 = nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, labels)
        self.gate_y = nn.ModuleList([nn.Linear(width, labels) for width in (features, hidden, labels)])
        self.gate_z = nn.ModuleList([nn.Linear(hidden, hidden), nn.Linear(labels, labels)])
        self.constant = nn.ModuleList([nn.Linear(features, hidden), nn.Linear(hidden, labels)])
        self.from_y = nn.ModuleList([nn.Linear(labels, width, bias=False) for width in (hidden, labels, 1)])
        self.from_z = nn.ModuleList([nn.Linear(hidden, labels, bias=False), nn.Linear(labels, 1, bias=False)])
        for weight in weights(self.from_z):
            weight.data.abs_()
        self.steps, self.step_size, self.momentum = steps, step_size, momentum

    def inject(self, x: Tensor) -> Injected:
        """Everything that depends on x, once for all inference steps."""
        u0 = self.norm(torch.relu(self.u0(x)))
        u1 = self.u1(u0)
        return Injected(
            *(gate(u) for gate, u in zip(self.gate_y, (x, u0, u1), strict=True)),
            *(torch.relu(gate(u)) for gate, u in zip(self.gate_z, (u0, u1), strict=True)),
            *(constant(u) for constant, u in zip(self.constant, (x, u0), strict=True)),
        )

    def energy(self, y: Tensor, k: Injected) -> Tensor:
        """E up to a constant of x, shape (batch,)."""
        z1 = torch.relu(self.from_y[0](y * k.y0) + k.c0)
        z2 = torch.relu(self.from_z[0](z1 * k.z1) + self.from_y[1](y * k.y1) + k.c1)
        out: Tensor = self.from_z[1](z2 * k.z2) + self.from_y[2](y * k.y2)
        return out.squeeze(1)

    def gradient(self, y: Tensor, k: Injected) -> Tensor:
        """∂E/∂y in closed form, shape (batch, labels), itself differentiable."""
        (a0, a1, a2), (p1, p2) = (weights(path) for path in (self.from_y, self.from_z))
        pre1 = torch.addmm(k.c0, y * k.y0, a0.t())
        pre2 = torch.addmm(torch.addmm(k.c1, y * k.y1, a1.t()), torch.relu(pre1) * k.z1, p1.t())
        d2 = k.z2 * p2 * (pre2 > 0)
        d1 = (d2 @ p1) * k.z1 * (pre1 > 0)
        return k.y2 * a2 + k.y1 * (d2 @ a1) + k.y0 * (d1 @ a0)

    def infer(self, k: Injected) -> Tensor:
        """y after all Nesterov steps; not projected, so that it may leave [0, 1]."""
        y, velocity = torch.full_like(k.y0, 0.5), torch.zeros_like(k.y0)
        for _ in range(self.steps):
            previous = velocity
            velocity = self.momentum * previous - self.step_size * self.gradient(y, k)
            y = y - self.momentum * previous + (1 + self.momentum) * velocity
        return y

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean squared error of the unrolled minimiser for input z."""
        return (self.infer(self.inject(z)) - y).square().mean()

    @torch.no_grad()
    def predict(self, z: Tensor) -> Tensor:
        """The minimiser clipped to [0, 1], shape (batch, labels). Labels of the evaluated samples are never seen."""
        return self.infer(self.inject(z)).clamp(0, 1)

    @torch.no_grad()
    def after_step(self) -> None:
        """Project back to convexity: the z-path's weights are not negative."""
        for weight in weights(self.from_z):
            weight.clamp_(min=0)


def weights(layers: nn.ModuleList) -> list[nn.Parameter]:
    return [layer.get_parameter("weight") for layer in layers]
