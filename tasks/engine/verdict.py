"""Statistics of repeated runs and what may be said of them. The rules were fixed before any run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

MIN_SEEDS = 3  # fewer decide nothing
CellVerdict = Literal["better", "matches", "falls short", "inconclusive"]
ClaimVerdict = Literal["holds", "contradicted", "inconclusive"]


@dataclass(frozen=True)
class Claim:
    """A statement about two rows (or one), tested on paired differences.

    Args:
        item: the table or figure it belongs to, e.g. "figure5.5".
        text: the statement.
        differences: one a seed, positive where the statement is true of that seed.
        data: label of the data, e.g. "bibtex" or "generated sample".
    """

    item: str
    text: str
    differences: Sequence[float]
    data: str


@dataclass(frozen=True)
class Judged:
    """A claim with its statistics: mean difference, half-width of its 95 % interval, number of pairs, verdict."""

    claim: Claim
    difference: float
    ci95: float | None
    n: int
    verdict: ClaimVerdict


def mean_ci95(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half-width of the two-sided 95 % t-interval (ddof = 1); None for fewer than two values.

    Raises ValueError if there is no value. A value that is not finite makes both nan.
    """
    if not values:
        raise ValueError("mean_ci95: no values")
    n = len(values)
    if not all(math.isfinite(value) for value in values):
        return math.nan, math.nan if n > 1 else None
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, _t(n) * deviation / math.sqrt(n)


@cache
def _t(n: int) -> float:
    """Student's t at 97.5 % for n values."""
    from scipy.special import stdtrit  # takes long to import, and scipy.stats ten times as long

    return float(stdtrit(n - 1, 0.975))


def judge_cell(values: Sequence[float], paper: float, tolerance: float, higher_is_better: bool = True) -> CellVerdict:
    """Our runs against the paper's number. With d = how much better our mean is, h = the interval's half-width:

    - h within the tolerance: `better` if d > tolerance, `falls short` if d < -tolerance, else `matches`;
    - h above the tolerance: `inconclusive`, unless the whole interval lies beyond the tolerance on one side;
    - fewer than 3 runs, or a value that is not finite: `inconclusive`.
    """
    mean, half = mean_ci95(values)
    if len(values) < MIN_SEEDS or half is None or not math.isfinite(mean):
        return "inconclusive"
    difference = mean - paper if higher_is_better else paper - mean
    wide = half > tolerance
    if difference - half * wide > tolerance:
        return "better"
    if difference + half * wide < -tolerance:
        return "falls short"
    return "inconclusive" if wide else "matches"


def judge_claim(claim: Claim) -> Judged:
    """`holds` if the 95 % interval of the mean paired difference lies above 0, `contradicted` if below.

    `inconclusive` if it contains 0, for fewer than 3 pairs, or with a difference that is not finite.
    """
    n = len(claim.differences)
    mean, half = mean_ci95(claim.differences) if n else (math.nan, None)
    verdict: ClaimVerdict = "inconclusive"
    if n >= MIN_SEEDS and half is not None and math.isfinite(mean) and abs(mean) > half:
        verdict = "holds" if mean > 0 else "contradicted"
    return Judged(claim, mean, half, n, verdict)
