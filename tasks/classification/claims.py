"""What the paper says of tables 1 and 2 and of its theorem, and what our rows ask: one difference a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.classification.rows import FAMILIES, PROTOCOLS, by_seed, task_of
from tasks.engine.store import Run, data_label
from tasks.engine.verdict import Claim

FASTER = 2.0  # paper 5.2: "in each case obtaining roughly 2X or more speedup"
MARGIN = 0.5  # points of accuracy; the paper's own gap on MNIST, to the other side, is as large (99.5 against 99.0)
CHANNELS = {"conv_": 56, "": 81}  # of the monotone operator network at profile=paper

Difference = Callable[[Run, Run], float]


def claims(runs: Sequence[Run]) -> list[Claim]:
    """Every claim for which a protocol has runs of the rows it is about, paired by seed."""
    found: list[Claim] = []
    for protocol, title in PROTOCOLS.items() if runs else ():
        for prefix, name in FAMILIES[task_of(runs)].items():
            jfb, jacobian, backward = (f"{prefix}{adjoint}" for adjoint in ("jfb", "normal_cg", "backward_fpi"))
            asked: list[tuple[str, str, str, str, Difference]] = [
                ("table1", "{} beats its explicit counterpart", jfb, f"{prefix}explicit", _gain),
                ("table1", f"{{}} beats the monotone operator network{_size(prefix)}", jfb, f"{prefix}mon", _gain),
                ("table2", f"{{}}: an epoch with JFB is at least {FASTER:g} × faster", jfb, jacobian, _speed(FASTER)),
                ("table2", f"{{}}: JFB is no worse in accuracy (by {MARGIN} points)", jfb, jacobian, _no_worse),
                ("table2", "{}: JFB is more accurate than the Jacobian-based gradient", jfb, jacobian, _gain),
                (
                    "table2",
                    "{}: an epoch with BackwardFPI is faster than with CG (ours)",
                    backward,
                    jacobian,
                    _speed(1),
                ),
                ("table2", "{}: an epoch with JFB is faster than with BackwardFPI (ours)", jfb, backward, _speed(1)),
                ("theorem3.1", "{}: JFB descends, for every sample and epoch probed", jfb, jfb, _descent),
            ]
            for item, text, ours, other, difference in asked:
                mine, theirs = by_seed(runs, ours, protocol), by_seed(runs, other, protocol)
                differences = [difference(mine[seed], theirs[seed]) for seed in mine if seed in theirs]
                if differences:
                    sentence = f"{text.format(name)} ({title})"
                    found.append(Claim(item, sentence[0].upper() + sentence[1:], differences, data_label(runs)))
    return found


def _size(prefix: str) -> str:
    """How much smaller than the paper's that network is."""
    return f" (which has 8 channels instead of {CHANNELS[prefix]} unless profile=paper)" if prefix in CHANNELS else ""


def _gain(ours: Run, other: Run) -> float:
    return ours.metric("test/accuracy") - other.metric("test/accuracy")


def _no_worse(ours: Run, other: Run) -> float:
    return _gain(ours, other) + MARGIN


def _speed(factor: float) -> Difference:
    """By how much the ratio of the seconds an epoch exceeds the factor."""
    name = "cost/seconds_per_epoch"
    return lambda ours, other: other.metric(name) / ours.metric(name) - factor


def _descent(ours: Run, _: Run) -> float:
    """The smallest cosine between direction and gradient that was measured: positive where it always descends."""
    return min(ours.curve("jfb/cosine_min")[1], default=float("nan"))
