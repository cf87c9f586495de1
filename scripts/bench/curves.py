"""Time to the same true error: every contestant's own tolerance is searched until the error, measured outside, is met.

Two errors: the residual ‖g(x) − x‖ / ‖x‖ of the solution (largest over the samples, in float64), and the relative
error of the parameters' gradient.  The search finds, for every setting, the loosest tolerance that meets the target;
of several settings of a contestant the fastest is then timed, all contestants taking turns (those 10 times slower than
the fastest are left with the time of the search).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import peers_jax
import peers_torch
import torch
from case import Case
from common import interleaved
from contestant import Run, Setting, timed

import fpi

GRADIENT_TARGET = 1e-4
TRIES = 8
TIGHTEST = 1e-9  # no float32 solve tells this from 0
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
    """The loosest tolerance of one setting that meets ``target``, by secant steps from ``start``; and that tolerance.

    Errors are about proportional to tolerances, but fall in steps: a tighter tolerance may cost no further iteration.
    The search gives up where none will help (the cap on the iterations is hit, the error no longer falls) and after a
    run of more than ``limit`` seconds.
    """
    best: Found | None = None
    tolerance, stuck, before = start, 0, math.inf
    for _ in range(TRIES):
        run = make(tolerance)
        try:
            result, seconds = timed(run)
        except (fpi.FixedPointError, torch.linalg.LinAlgError):  # diverged, or singular
            break
        error, facts = judge(result)
        if error <= target:
            unchanged = best is not None and error == best.error
            best = Found(setting, run, error, seconds, facts | {"tolerance": tolerance})
            if error > 0.5 * target or unchanged or tolerance == 1.0 or before < math.inf:
                break  # met just so; loosening changes nothing; or it was missed one step before
            tolerance = min(tolerance * min(0.85 * target / max(error, 1e-30), 30.0), 1.0)
        else:
            stuck = stuck + 1 if error > 0.7 * before else 0
            if best or facts.get("capped") or stuck == 3 or tolerance == TIGHTEST or not math.isfinite(error):
                break
            tolerance = max(tolerance * max(min(0.85 * target / error, 0.5), 1e-2), TIGHTEST)
            before = error
        if seconds > limit:
            break
    return best, math.nan if best is None else best.facts["tolerance"]


def fewest_steps(
    setting: Setting, make: Callable[[float], Run], judge: Judge, target: float, start: float, limit: float
) -> tuple[Found | None, float]:
    """The fewest iterations (to 5 %) of a setting without criterion that meet ``target``: doubling, then bisection."""
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
            return None, math.nan
        low, high = high, min(2 * high, setting.steps)
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return known[high], high


def measure(
    settings: Sequence[Setting],
    kind: str,
    target: float,
    judge: Callable[[Setting, Any], tuple[float, dict[str, Any]]],
    memory: dict[Any, Any],
    repeats: int,
    budget: float,
) -> dict[str, Found]:
    """The fastest setting of each contestant at one target, timed together.

    ``memory`` remembers the search from one target to the next, tighter one: (target, knob) of every setting, nan for
    a knob that is out, and the fastest time.
    """
    chosen: dict[str, Found] = {}
    reached: list[Found] = []
    fastest = 2 * memory.get("fastest", math.inf)
    for setting in settings:
        make = setting.forward if kind == "forward" else setting.gradient
        last, knob = memory.get(id(setting), (target, target if setting.steps is None else 10.0))
        if make is None or math.isnan(knob):
            continue
        # a loose tolerance may have met the last target by luck: never begin looser than three times the target
        start = min(knob * target / last, 3 * target) if setting.steps is None else knob
        find = search if setting.steps is None else fewest_steps
        found, knob = find(setting, make, lambda result, s=setting: judge(s, result), target, start, SLOW * fastest)
        memory[id(setting)] = (target, knob)  # what misses a target misses every tighter one
        if found is None:
            continue
        reached.append(found)
        fastest = min(fastest, found.seconds)
        if setting.contestant not in chosen or found.seconds < chosen[setting.contestant].seconds:
            chosen[setting.contestant] = found
    for found in reached:
        if found.seconds > BEHIND * chosen[found.setting.contestant].seconds:
            memory[id(found.setting)] = (target, math.nan)
    near = {name: found.run for name, found in chosen.items() if found.seconds < SLOW * fastest}
    for name, seconds in interleaved(near, repeats, budget=budget, warm=False).items():
        chosen[name].seconds = min(chosen[name].seconds, seconds)
    memory["fastest"] = min((found.seconds for found in chosen.values()), default=fastest)
    return chosen


def residual_curves(case: Case, settings: Sequence[Setting], repeats: int, budget: float) -> dict[str, Any]:
    """Per contestant: residual, seconds, evaluations of g and the setting, one point a target."""

    def judge(setting: Setting, result: Any) -> tuple[float, dict[str, Any]]:
        x, evaluations = setting.read(result)
        facts: dict[str, Any] = {"evaluations": evaluations, "capped": evaluations >= case.max_iter}
        if case.energy:
            facts["energy"] = case.mean_energy(x)
        return case.error(x), facts

    curves: dict[str, list[dict[str, Any]]] = {setting.contestant: [] for setting in settings}
    memory: dict[Any, Any] = {}
    for target in case.targets:
        for name, found in measure(settings, "forward", target, judge, memory, repeats, budget).items():
            curves[name].append(
                {"target": target, "residual": found.error, "seconds": found.seconds}
                | {key: value for key, value in found.facts.items() if key != "capped"}
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
