"""Time to the same true error: every contestant's own tolerance is searched until the error, measured outside, is met.

Two errors: the residual ‖g(x) − x‖ / ‖x‖ of the solution (largest over the samples, in float64), and the relative
error of the parameters' gradient.  The search finds, for every setting, the loosest tolerance that meets the target;
of several settings of a contestant the fastest is then timed, all contestants taking turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import peers_jax
import peers_torch
from cases import Case
from common import interleaved
from contestant import Run, Setting, timed

TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
GRADIENT_TARGET = 1e-4
TRIES = 3
SLOW = 10.0  # a setting this many times slower than the best is not searched further
BEHIND = 1.5  # nor, at tighter targets, one this many times slower than another setting of the same contestant


@dataclass
class Found:
    """A setting that meets a target, and how."""

    setting: Setting
    run: Run
    error: float
    seconds: float
    facts: dict[str, Any]


def contestants(case: Case) -> list[Setting]:
    """Everybody who can solve the case here."""
    return peers_torch.bare(case) + peers_torch.ours(case) + peers_torch.torchdeq(case) + peers_jax.settings(case)


Judge = Callable[[Any], tuple[float, dict[str, Any]]]


def search(
    setting: Setting, make: Callable[[float], Run], judge: Judge, target: float, start: float, limit: float
) -> tuple[Found | None, float]:
    """The loosest tolerance of one setting that meets ``target``, by secant steps from ``start``; and the last one.

    Errors are about proportional to tolerances.  A run of more than ``limit`` seconds is the last.
    """
    best: Found | None = None
    tolerance = start
    for _ in range(TRIES):
        run = make(tolerance)
        result, seconds = timed(run)
        error, facts = judge(result)
        if error <= target and (best is None or seconds < best.seconds):
            best = Found(setting, run, error, seconds, facts | {"tolerance": tolerance})
        close = best is not None and error > 0.7 * target  # met just so, or loosened too far
        if close or seconds > limit or not math.isfinite(error):
            break
        factor = min(max(0.85 * target / max(error, 1e-30), 1e-3), 30.0)
        following = min(max(tolerance * factor, 1e-9), 1.0)
        if following == tolerance:
            break
        tolerance = following
    return best, tolerance


def fewest_steps(
    setting: Setting, make: Callable[[float], Run], judge: Judge, target: float, start: float, limit: float
) -> tuple[Found | None, float]:
    """The fewest iterations of a setting without a criterion that meet ``target``: doubling, then bisection."""
    assert setting.steps is not None
    known: dict[int, Found] = {}

    def meets(steps: int) -> bool:
        run = make(steps)
        result, seconds = timed(run)
        error, facts = judge(result)
        known[steps] = Found(setting, run, error, seconds, facts)
        return error <= target

    low, high = 0, max(int(start), 1)
    while not meets(high):
        if high == setting.steps or known[high].seconds > limit:
            return None, high
        low, high = high, min(2 * high, setting.steps)
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return known[high], high


def measure(
    settings: Sequence[Setting],
    kind: str,
    target: float,
    judge: Callable[[Setting, Any], tuple[float, dict[str, Any]]],
    starts: dict[int, float],
    repeats: int,
    budget: float,
) -> dict[str, Found]:
    """The fastest setting of each contestant at one target, timed together.

    ``starts`` remembers, by setting, where the search of the next target begins; nan for one that is out.
    """
    chosen: dict[str, Found] = {}
    reached: list[Found] = []
    for setting in settings:
        make = setting.forward if kind == "forward" else setting.gradient
        known = starts.get(id(setting), target if setting.steps is None else 10.0)
        if make is None or math.isnan(known):
            continue
        fastest = min((found.seconds for found in chosen.values()), default=math.inf)
        if id(setting) not in starts:
            make(known)()  # compiles and warms up
        find = search if setting.steps is None else fewest_steps
        found, knob = find(setting, make, lambda result, s=setting: judge(s, result), target, known, SLOW * fastest)
        starts[id(setting)] = knob / 10 if setting.steps is None else knob
        if found is None:
            starts[id(setting)] = math.nan  # what misses a target misses every tighter one
            continue
        reached.append(found)
        if setting.contestant not in chosen or found.seconds < chosen[setting.contestant].seconds:
            chosen[setting.contestant] = found
    for found in reached:
        if found.seconds > BEHIND * chosen[found.setting.contestant].seconds:
            starts[id(found.setting)] = math.nan
    times = interleaved({name: found.run for name, found in chosen.items()}, repeats, budget=budget, warm=False)
    for name, found in chosen.items():
        found.seconds = min(times[name], found.seconds)
    return chosen


def residual_curves(case: Case, settings: Sequence[Setting], repeats: int, budget: float) -> dict[str, Any]:
    """Per contestant: residual, seconds, evaluations of g and the setting, one point a target."""

    def judge(setting: Setting, result: Any) -> tuple[float, dict[str, Any]]:
        x, evaluations = setting.read(result)
        facts: dict[str, Any] = {"evaluations": evaluations}
        if case.energy:
            facts["energy"] = case.mean_energy(x)
        return case.residual(x), facts

    curves: dict[str, list[dict[str, Any]]] = {setting.contestant: [] for setting in settings}
    starts: dict[int, float] = {}
    for target in TARGETS:
        for name, found in measure(settings, "forward", target, judge, starts, repeats, budget).items():
            curves[name].append(
                {"target": target, "residual": found.error, "seconds": found.seconds}
                | found.facts
                | {"setting": found.setting.label}
            )
    return curves


def gradient_times(case: Case, settings: Sequence[Setting], repeats: int, budget: float) -> dict[str, Any]:
    """Per contestant: seconds of a forward and backward pass whose gradient is within the target of the reference."""
    expected = case.gradient

    def judge(setting: Setting, result: Any) -> tuple[float, dict[str, Any]]:
        assert setting.read_gradient is not None
        error = float((setting.read_gradient(result) - expected).norm() / expected.norm())
        return (error if math.isfinite(error) else math.inf), {}

    found = measure(settings, "gradient", GRADIENT_TARGET, judge, {}, repeats, budget)
    names = {setting.contestant for setting in settings if setting.gradient is not None}
    return {
        name: {"error": found[name].error, "seconds": found[name].seconds, "setting": found[name].setting.label}
        | found[name].facts
        if name in found
        else None
        for name in sorted(names)
    }
