"""The rows of table 1, what they are called, and how to pick their runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run

TABLE = "table1"
PROBLEMS = {"deblur": "deblurring", "denoise": "denoising", "sr4": "×4 super-resolution"}
ROWS = {
    "tv": "TV",
    "pnp_published": "Denoiser prior",
    "pnp_own": "Denoiser prior (our denoiser)",
    "podm_published": "PODM",
    "podm_own": "PODM (our denoiser)",
    "rpodm": "Relaxed PODM",
    "rpodm_tied": "Relaxed PODM, tied stages (ours)",
    "fpi": "FPI (ours)",
}


def by_seed(runs: Sequence[Run], row: str, problem: str) -> dict[int, Run]:
    """The finished runs of a row at a problem, by seed."""
    return {run.seed: run for run in runs if run.row == f"{row}_{problem}"}


def present(runs: Sequence[Run], row: str, problem: str) -> str | None:
    """The row's name with the denoisers that there are runs of: published ones before our own."""
    names = [row, f"{row}_published", f"{row}_own"]
    return next((name for name in names if by_seed(runs, name, problem)), None)
