"""What the thesis says in 6.2 and 6.4.2 about optical flow, as differences of EPE a seed, positive where it is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.engine.store import Run
from tasks.engine.verdict import Claim
from tasks.flow.rows import CHAIRS, ROWS, SINTEL, by_seed, columns

UNROLLED = "energy_unrolled"
MARGIN = 0.01  # pixels of EPE within which the implicit layer counts as no worse: a third of the thesis' improvement


def claims(runs: Sequence[Run]) -> list[Claim]:
    """The claims for which there are runs."""
    return [
        *_pair(runs, CHAIRS, "figure6.4", "the FPI layer lowers FlowNetS' EPE", "flownets", "flownets_fpi"),
        *_pair(
            runs, CHAIRS, "figure6.4",
            "a feedforward module of the FPI layer's structure makes FlowNetS worse", "flownets_ff", "flownets",
        ),
        *_along_steps(runs, "falls from the initial flow to the last gradient step", _fall),
        *_along_steps(runs, "falls monotonically over the gradient steps", _smallest_fall),
        *_pair(runs, SINTEL, "figure6.6", "the implicit layer lowers the initial EPE", "init", "energy_implicit"),
        *_pair(
            runs, SINTEL, "figure6.6", f"the implicit layer is no worse than 10 unrolled steps (within {MARGIN} px)",
            UNROLLED, "energy_implicit", MARGIN,
        ),
    ]  # fmt: skip


def _pair(
    runs: Sequence[Run], task: str, item: str, text: str, other: str, better: str, margin: float = 0.0
) -> list[Claim]:
    """The claim that `better` has a lower final EPE than `other`, for the seeds that both have."""
    ours, theirs = by_seed(runs, task, better), by_seed(runs, task, other)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return []
    differences = [theirs[seed].metric("test/epe") - ours[seed].metric("test/epe") + margin for seed in seeds]
    return [Claim(item=item, text=text, differences=differences, data=str(ours[seeds[0]].run["data"]))]


def _along_steps(runs: Sequence[Run], text: str, measure: Callable[[list[float]], float]) -> list[Claim]:
    """A claim about the EPE after each of the unrolled layer's gradient steps."""
    curves = [(run, columns(run, "steps.csv", "test_epe")[0]) for run in by_seed(runs, SINTEL, UNROLLED).values()]
    curves = [(run, epe) for run, epe in curves if epe]
    if not curves:
        return []
    data = str(curves[0][0].run["data"])
    differences = [measure(epe) for _, epe in curves]
    return [Claim("figure6.6", f"{ROWS[SINTEL][UNROLLED]}: the EPE {text}", differences, data)]


def _fall(epe: list[float]) -> float:
    return epe[0] - epe[-1]


def _smallest_fall(epe: list[float]) -> float:
    return min(before - after for before, after in zip(epe, epe[1:], strict=False))
