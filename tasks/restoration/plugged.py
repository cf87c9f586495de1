"""The rows of table 1 around a denoiser: plug-and-play and PODM, with published denoisers or our own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.engine.data import DataNotFoundError, locate
from tasks.restoration.baselines import annealed, plug_and_play
from tasks.restoration.denoisers import OwnDenoiser, PublishedDenoisers
from tasks.restoration.models import Selecting
from tasks.restoration.operators import Problem
from tasks.restoration.podm import PODM, Follow, run_podm
from tasks.restoration.prior import LpDct

MAX_LEVEL = 50.0  # noise levels that our own denoiser learns, grey levels of 255


class WithDenoiser(Selecting):
    """A row around a denoiser: the authors' published ones, or our own, trained in the first epochs.

    Args:
        denoisers: "published" or "own".
        channels, dilations: of our own.
        candidates, first: see `Selecting`; our own denoiser learns in the first epochs.

    Raises:
        DataNotFoundError: the published denoisers are not there.
    """

    def __init__(
        self,
        denoisers: str,
        channels: int,
        dilations: Sequence[int],
        candidates: Sequence[dict[str, float]],
        first: int,
        sigma: float,
    ) -> None:
        super().__init__(candidates, first)
        if denoisers not in ("own", "published"):
            raise ValueError(f"task.denoisers must be own or published, got {denoisers!r}")
        self.sigma, self.epoch = sigma, 0
        self.denoiser: OwnDenoiser | PublishedDenoisers = (
            OwnDenoiser(channels, dilations) if denoisers == "own" else PublishedDenoisers(_published())
        )

    def begin_epoch(self, epoch: int) -> None:
        super().begin_epoch(epoch)
        self.epoch = epoch

    def training_loss(self, problem: Problem, truth: Tensor) -> Tensor | None:
        """The denoiser's, on the true images with fresh noise of all levels up to MAX_LEVEL."""
        if self.epoch >= self.first or not isinstance(self.denoiser, OwnDenoiser):
            return None
        self.g_evaluations += 2
        level = MAX_LEVEL * torch.rand(len(truth), 1, 1, 1, device=truth.device)
        noisy = truth + level / 255 * torch.randn_like(truth)
        loss: Tensor = F.mse_loss(self.denoiser(noisy, level), truth)
        return loss


def _published() -> Path:
    try:
        return locate("podm-denoisers")
    except DataNotFoundError as error:
        fix = "Or choose task.denoisers=own: our own take their place, and the row says so."
        raise DataNotFoundError(f"{error}\n  {fix}") from error


class PlugAndPlay(WithDenoiser):
    """The denoiser as the prior of half-quadratic splitting: IRCNN's part.

    Args:
        steps: iterations.
        candidates: of last (the last noise level) and strength, see `annealed`.
    """

    def __init__(self, steps: int, **options: Any) -> None:
        super().__init__(**options)
        self.steps = steps

    def forward(self, problem: Problem) -> Tensor:
        return self._run(problem, None)

    def follow(self, problem: Problem, follow: Follow) -> None:
        self._run(problem, follow)

    def _run(self, problem: Problem, follow: Follow | None) -> Tensor:
        levels, weights = annealed(49, self.chosen["last"], self.steps, self.sigma, self.chosen["strength"])
        self.g_evaluations += self.steps
        return plug_and_play(problem, self.denoiser, levels, weights, follow)


class PODMRestorer(WithDenoiser):
    """PODM with its guarantee.

    Args:
        stages: at most; denoiser levels fall from 48 to 4 (networks 24 to 2) over the first ``steps`` of them.
        candidates: of factor: λ of g is factor · σ, σ on [0, 1] and at least 1/255.
        p, axes: of g.
        alpha, error, inner_steps, tolerance: see `PODM`.
    """

    def __init__(
        self,
        stages: int,
        steps: int,
        p: float,
        axes: int,
        alpha: float,
        error: float,
        inner_steps: int,
        tolerance: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.stages, self.steps, self.p, self.axes = stages, steps, p, axes
        self.constants = {"alpha": alpha, "error": error, "inner_steps": inner_steps, "tolerance": tolerance}

    @property
    def podm(self) -> PODM:
        """The iteration with the chosen λ."""
        weight = self.chosen["factor"] * max(self.sigma, 1) / 255
        return PODM(LpDct(weight, self.p, self.axes), **self.constants)  # type: ignore[arg-type]

    def forward(self, problem: Problem) -> Tensor:
        return self._run(problem, None)

    def follow(self, problem: Problem, follow: Follow) -> None:
        self._run(problem, follow)

    def _run(self, problem: Problem, follow: Follow | None) -> Tensor:
        levels, weights = annealed(48, 4, self.steps, self.sigma, 1.0)
        self.g_evaluations += self.stages
        return run_podm(self.podm, problem, self.denoiser, levels, weights, self.stages, follow)
