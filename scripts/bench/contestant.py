"""One form for every library: a setting turns a tolerance into a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Run = Callable[[], Any]


@dataclass
class Setting:
    """One way a library can be asked to solve a case.

    Attributes:
        contestant: what competes, say "torchdeq Anderson"; of several settings of a contestant the fastest counts.
        label: which setting this is, say "lam 1e-8".
        forward: from the library's own tolerance to a run that returns the solution in the library's own form;
            ``None`` for a setting that only differs in its gradient.
        read: from that form to (x̂ as a tensor, evaluations of g); outside the timing.
        gradient: from the tolerance to a run of a whole forward and backward pass, which returns the gradients of the
            parameters in the library's own form; ``None`` where the library offers none.
        read_gradient: from that form to one flat float64 tensor, ordered as ``case.g.parameters()``.
        compile_seconds: filled in by those that compile.
        steps: a setting without a criterion: its knob is a whole number of iterations, up to this many.
    """

    contestant: str
    label: str
    forward: Callable[[float], Run] | None
    read: Callable[[Any], tuple[Tensor, int]]
    gradient: Callable[[float], Run] | None = None
    read_gradient: Callable[[Any], Tensor] | None = None
    compile_seconds: dict[str, float] = field(default_factory=dict)
    steps: int | None = None

    @property
    def library(self) -> str:
        return self.contestant.split()[0]


def timed(run: Run) -> tuple[Any, float]:
    """The result of one run and its seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start
