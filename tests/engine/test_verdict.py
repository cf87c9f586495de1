"""Intervals against scipy and tables; verdicts at and around their borders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.engine.verdict import Claim, judge_cell, judge_claim, mean_ci95


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_the_interval_is_scipys(values: list[float]) -> None:
    mean, half = mean_ci95(values)
    sem = stats.sem(values, ddof=1)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert half == pytest.approx(stats.t.ppf(0.975, len(values) - 1) * sem, abs=1e-9)


def test_the_interval_of_three_values_by_hand() -> None:
    # t(0.975, 2) = 4.3027 (tables), sd = 1
    assert mean_ci95([1.0, 2.0, 3.0]) == (2.0, pytest.approx(4.3027 / math.sqrt(3), rel=1e-4))


def test_one_value_has_no_interval_and_none_is_an_error() -> None:
    assert mean_ci95([5.0]) == (5.0, None)
    with pytest.raises(ValueError, match="no values"):
        mean_ci95([])


def test_a_value_that_is_not_finite_is_not_averaged_away() -> None:
    mean, half = mean_ci95([1.0, math.inf, 2.0])
    assert math.isnan(mean) and half is not None and math.isnan(half)
    assert judge_cell([1.0, math.nan, 1.0], 1.0, 0.5) == "inconclusive"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([43.4, 43.4, 43.4], "matches"),
        ([43.9, 43.9, 43.9], "matches"),  # exactly the tolerance
        ([43.9001, 43.9001, 43.9001], "better"),
        ([42.9, 42.9, 42.9], "matches"),
        ([42.89, 42.89, 42.89], "falls short"),
        ([43.0, 43.1, 43.2], "matches"),  # half-width 0.25
        ([44.4, 44.5, 44.6], "better"),
        ([42.4, 43.4, 44.4], "inconclusive"),  # half-width 2.5 around the paper's number
        ([44.0, 45.0, 46.0], "inconclusive"),  # wide, and touching the tolerance
        ([29.0, 30.0, 31.0], "falls short"),  # wide, but all of it is beyond the tolerance
        ([57.0, 58.0, 59.0], "better"),
        ([43.4, 43.4], "inconclusive"),  # two seeds decide nothing
    ],
)
def test_cells(values: list[float], verdict: str) -> None:
    # powers of two in place of 43.4 +- 0.5 would be exact; the borders here are checked up to rounding
    shifted = [round(value - 43.4, 6) for value in values]
    assert judge_cell(shifted, 0.0, 0.5) == verdict


def test_lower_is_better_turns_the_verdict_around() -> None:
    low = [1.0, 1.0, 1.0]
    assert judge_cell(low, 2.0, 0.5) == "falls short"
    assert judge_cell(low, 2.0, 0.5, higher_is_better=False) == "better"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([1.0, 1.1, 0.9], "holds"),
        ([-1.0, -1.1, -0.9], "contradicted"),
        ([1.0, 2.0, -0.5], "inconclusive"),
        ([0.2, 0.2, 0.2], "holds"),
        ([0.0, 0.0, 0.0], "inconclusive"),
        ([1.0, 1.1], "inconclusive"),
        ([], "inconclusive"),
        ([1.0, 1.0, math.nan], "inconclusive"),
    ],
)
def test_claims(differences: list[float], verdict: str) -> None:
    judged = judge_claim(Claim("table0", "a beats b", differences, "tiny"))
    assert judged.verdict == verdict and judged.n == len(differences)


def test_a_paired_difference_decides_what_unpaired_means_cannot() -> None:
    ours, theirs = [40.0, 45.0, 50.0], [39.0, 44.1, 48.9]
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    assert judge_claim(Claim("table0", "ours beats theirs", differences, "tiny")).verdict == "holds"
    assert mean_ci95(ours)[0] - mean_ci95(theirs)[0] < (mean_ci95(ours)[1] or 0)
