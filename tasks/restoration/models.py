"""The rows of table 1: methods that map a `Problem` to the restored images, shaped (batch, 1, height, width)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpi
from tasks.engine import console
from tasks.restoration.baselines import fista, fista_tv
from tasks.restoration.learned import Prepared, RelaxedStage
from tasks.restoration.operators import Problem
from tasks.restoration.podm import Follow


class Restorer(nn.Module):
    """What all rows have: ``forward(problem)``, and hooks of the training that do nothing unless a row needs them.

    Attributes:
        g_evaluations: evaluations of a stage on a batch (products with its Jacobian included) since it was set to 0.
    """

    g_evaluations = 0.0

    def training_loss(self, problem: Problem, truth: Tensor) -> Tensor | None:
        """What training lowers; None: nothing is learned in this epoch. By default the mean squared error."""
        loss: Tensor = F.mse_loss(self(problem), truth)
        return loss

    def begin_epoch(self, epoch: int) -> None:
        """Called before every training epoch."""

    def follow(self, problem: Problem, follow: Follow) -> None:
        """Run once more, with ``follow(x)`` called at every iteration, beyond the stopping point."""

    def solver_metrics(self) -> dict[str, float]:
        """Means over the samples of the latest batch, its backward pass included."""
        return {}


class Selecting(Restorer):
    """A row with settings that validation chooses: epoch ``first + k`` tries the k-th candidate.

    Args:
        candidates: settings by name.
        first: epochs before them, which use the first candidate.
    """

    choice: Tensor

    def __init__(self, candidates: Sequence[dict[str, float]], first: int = 0) -> None:
        super().__init__()
        if not candidates:
            raise ValueError("method.network.candidates must name at least one setting")
        self.candidates, self.first = tuple(candidates), first
        self.register_buffer("choice", torch.tensor(0))

    @property
    def chosen(self) -> dict[str, float]:
        return self.candidates[int(self.choice)]

    def begin_epoch(self, epoch: int) -> None:
        self.choice.fill_(min(max(0, epoch - self.first), len(self.candidates) - 1))


class TotalVariation(Selecting):
    """argmin ½‖Ax − y‖² + weight · TV(x) by FISTA (Rudin et al. 1992; Chambolle's prox of scikit-image).

    Args:
        candidates: of factor: weight = factor · σ, σ on [0, 1].
        iterations: of FISTA.
        sigma: noise of the observation in grey levels of 255; less than 1 counts as 1.
    """

    def __init__(self, candidates: Sequence[dict[str, float]], iterations: int, sigma: float) -> None:
        super().__init__(candidates)
        self.iterations, self.sigma = iterations, sigma

    def training_loss(self, problem: Problem, truth: Tensor) -> None:
        return None

    def forward(self, problem: Problem) -> Tensor:
        self.g_evaluations += self.iterations
        return fista(problem, fista_tv(self.chosen["factor"] * max(self.sigma, 1) / 255), self.iterations)


class RelaxedPODM(Restorer):
    """RPODM: so many stages, each with its own parameters (or tied), trained end to end through all of them.

    Args:
        stages: their number.
        tied: one stage's parameters for all: the fixed point's row, stopped early.
        stage: options of `RelaxedStage`.
    """

    def __init__(self, stages: int, stage: dict[str, Any], tied: bool = False) -> None:
        super().__init__()
        if stages < 1:
            raise ValueError(f"method.network.stages must be at least 1, got {stages}")
        self.number = stages
        self.stages = nn.ModuleList(RelaxedStage(**stage) for _ in range(1 if tied else stages))

    def forward(self, problem: Problem) -> Tensor:
        return self._run(problem, self.number, None)

    def follow(self, problem: Problem, follow: Follow) -> None:
        self._run(problem, self.number, follow)

    def _run(self, problem: Problem, number: int, follow: Follow | None) -> Tensor:
        prepared: list[Prepared] = [stage.inject(problem) for stage in self.stages]  # type: ignore[operator]
        x = prepared[0].z
        for l in range(number):
            x = self.stages[l % len(self.stages)](x, prepared[l % len(prepared)])
            if follow is not None:
                follow(x, {})
        self.g_evaluations += number * (2 if torch.is_grad_enabled() else 1)
        return x


class FixedPoint(Restorer):
    """The same restoration as one FPI layer: x̂ is the fixed point of the stage, from the first restoration.

    Args:
        stage: options of `RelaxedStage`; without ``lipschitz`` nothing says that it contracts.
        solver, adjoint: how the layer is solved and differentiated.
    """

    def __init__(self, stage: dict[str, Any], solver: fpi.Solver, adjoint: fpi.Adjoint) -> None:
        super().__init__()
        self.said = False  # that a solve did not converge
        self.layer: fpi.FPILayer = fpi.FPILayer(RelaxedStage(**stage), solver=solver, adjoint=adjoint)

    def forward(self, problem: Problem) -> Tensor:
        stage: Any = self.layer.g
        x: Tensor = self.layer(problem, x0=stage.first(problem).detach())
        info = self.layer.info
        assert info is not None
        self.g_evaluations += info.evaluations
        if not self.said and not bool(info.converged.all()):
            self.said = True
            console.warn(self._diagnosis(problem, x.detach(), info))
        return x

    def _diagnosis(self, problem: Problem, x: Tensor, info: fpi.SolveInfo) -> str:
        """Why a solve reached its cap: the Jacobian's norm, measured at the last iterate."""
        with torch.no_grad():
            prepared = self.layer.g.inject(problem)  # type: ignore[operator]
        norm = float(fpi.contraction.jacobian_norm(self.layer.g, x, prepared, iterations=20).max())
        start = (
            f"{int((~info.converged).sum())} of {len(x)} images had not converged after {info.evaluations} iterations: "
        )
        if norm >= 1:
            return (
                f"{start}the stage is not a contraction, the norm of its Jacobian was measured as {norm:.3g}. Set "
                "method.network.stage.lipschitz below 1 (and keep below it), which bounds it at all weights"
            )
        return f"{start}the stage contracts (measured norm {norm:.3g}), but slowly: raise task.max_iter"

    @torch.no_grad()
    def follow(self, problem: Problem, follow: Follow) -> None:
        prepared = self.layer.g.inject(problem)  # type: ignore[operator]
        x = prepared.z
        for _ in range(30):
            x = self.layer.g(x, prepared)
            follow(x, {})

    def solver_metrics(self) -> dict[str, float]:
        info = self.layer.info
        if info is None:
            return {}
        found = _summary("forward", info)
        if info.backward is not None:
            self.g_evaluations += info.backward.evaluations
            found |= _summary("backward", info.backward)
        return found


def _summary(direction: str, info: fpi.SolveInfo) -> dict[str, float]:
    names = ("iterations", "residual", "converged")
    return {f"{direction}_{name}": float(getattr(info, name).float().mean()) for name in names}
