"""The thesis' two rows of table 5.1: a single FPI_NN layer and a single FPI_GD layer (thesis 5.2, 5.3.1).

Both map a document's indicators z, shape (batch, features), to label probabilities, shape (batch, labels), and are
trained with binary cross-entropy through the fixed point.  Short names are the paper's: x the state, z the input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi


class FixedPointClassifier(nn.Module):
    """What the two rows share: counting evaluations of g, and the diagnostics of the latest solves."""

    layer: fpi.FPILayer
    distributes = True

    def __init__(self) -> None:
        super().__init__()
        self.g_evaluations = 0

    def logits(self, z: Tensor) -> Tensor:
        """Logits of the label probabilities at the fixed point."""
        raise NotImplementedError  # pragma: no cover - both rows define it

    def loss(self, z: Tensor, y: Tensor) -> Tensor:
        """Mean binary cross-entropy over samples and labels."""
        return F.binary_cross_entropy_with_logits(self.logits(z), y)

    def predict(self, z: Tensor) -> Tensor:
        """Label probabilities, shape (batch, labels)."""
        with torch.no_grad():
            return torch.sigmoid(self.logits(z))

    def solver_metrics(self) -> dict[str, float]:
        """Iterations and residuals of the latest forward and backward solve (means over the batch)."""
        info = self.layer.info
        if info is None:
            return {}
        metrics = _summary("forward", info)
        if info.backward is not None:
            metrics |= _summary("backward", info.backward)
        return metrics

    def _count(self) -> None:
        if self.layer.info is not None:
            self.g_evaluations += self.layer.info.evaluations


def _summary(direction: str, info: fpi.SolveInfo) -> dict[str, float]:
    return {
        f"{direction}_iterations": float(info.iterations.float().mean()),
        f"{direction}_residual": float(info.residual.float().mean()),
        f"{direction}_converged": float(info.converged.float().mean()),
    }


class FPINN(FixedPointClassifier):
    """FPI_NN: x = sigmoid(W₂ relu(W₁ [x, z] + b₁) + b₂), x̂ the label probabilities.

    Args:
        features, labels, hidden: sizes; the thesis' text has 512 hidden units, the authors' program 600.
        solver, adjoint: how the layer is solved and differentiated.
        lipschitz: bound on ‖∂g/∂x‖ kept after every optimiser step by scaling W₁'s x-columns; ``None`` leaves the
            layer unconstrained, as in the thesis.
        init_scale: factor on the initial x-columns (the thesis' small initial weights).
    """

    def __init__(
        self,
        features: int,
        labels: int,
        hidden: int,
        solver: fpi.Solver,
        adjoint: fpi.Adjoint,
        lipschitz: float | None = None,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        first = nn.Linear(labels + features, hidden)
        net = nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, labels), nn.Sigmoid())
        self.layer: fpi.FPI_NN = fpi.FPI_NN(net, state_shape=(labels,), solver=solver, adjoint=adjoint)
        self.labels, self.lipschitz = labels, lipschitz
        with torch.no_grad():
            first.weight[:, :labels] *= init_scale
        self.after_step()

    def logits(self, z: Tensor) -> Tensor:
        x: Tensor = self.layer(z)
        self._count()
        return torch.logit(x, eps=torch.finfo(x.dtype).eps)

    def after_step(self) -> None:
        """Project back onto the contraction budget."""
        if self.lipschitz is not None:
            fpi.contraction.limit_lipschitz_(self.layer, self.labels, self.lipschitz)


class LabelEnergy(nn.Module):
    """E(x, z) = mean_j relu(W [z, sigmoid(x)] + b)_j², x the labels' logits (thesis 5.3.1, FPI_GD).

    ``weight`` is (hidden, features + labels), features first: the layout of the authors' trained energy.
    """

    def __init__(self, features: int, labels: int, hidden: int) -> None:
        super().__init__()
        linear = nn.Linear(features + labels, hidden)
        self.weight, self.bias = linear.weight, linear.bias
        self.features = features

    def inject(self, z: Tensor) -> Tensor:
        """W_z z + b, once per solve."""
        return fpi.linear(z, self.weight[:, : self.features], self.bias)

    def forward(self, x: Tensor, injected: Tensor) -> Tensor:
        return self._units(torch.sigmoid(x), injected).square().mean(1)

    def gradient(self, x: Tensor, injected: Tensor) -> Tensor:
        """∂E/∂x = 2/hidden · (relu(u) W_y) · s (1 − s) with s = sigmoid(x)."""
        s = torch.sigmoid(x)
        return self._gradient(s, self._units(s, injected))

    def value_and_gradient(self, x: Tensor, injected: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(x)
        units = self._units(s, injected)
        return units.square().mean(1), self._gradient(s, units)

    def _units(self, s: Tensor, injected: Tensor) -> Tensor:
        return fpi.linear(s, self.weight[:, self.features :], added=injected, activation="relu")

    def _gradient(self, s: Tensor, units: Tensor) -> Tensor:
        of_labels = fpi.linear(units, self.weight[:, self.features :].t())
        return torch.ops.aten.sigmoid_backward(of_labels, s) * (2 / self.weight.shape[0])


class FPIGD(FixedPointClassifier):
    """FPI_GD: x̂ is a critical point of :class:`LabelEnergy`, its sigmoid the label probabilities.

    Args:
        features, labels, hidden: sizes (thesis: 1836, 159, 512).
        step_size: γ (thesis: 1.0).
        solver, adjoint: how the layer is solved and differentiated.
    """

    def __init__(
        self, features: int, labels: int, hidden: int, step_size: float, solver: fpi.Solver, adjoint: fpi.Adjoint
    ) -> None:
        super().__init__()
        energy = LabelEnergy(features, labels, hidden)
        self.layer = fpi.FPI_GD(energy, step_size=step_size, state_shape=(labels,), solver=solver, adjoint=adjoint)

    def logits(self, z: Tensor) -> Tensor:
        x: Tensor = self.layer(z)
        self._count()
        return x

    def load_energy(self, tensors: dict[str, Any]) -> None:
        """Take over trained ``weight`` and ``bias`` (the authors' published energy has this layout)."""
        self.layer.g.energy.load_state_dict(tensors)  # type: ignore[union-attr]
