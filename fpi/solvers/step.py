"""What a solver is given: one iteration of a map, with everything but the state fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

State = list[Tensor]
Objective = Callable[[State], tuple[Tensor, State]]


@dataclass(frozen=True)
class Affine:
    """The matrix M of a step that is affine, c ↦ M c + b, as the backward layer's (4.10) is.

    Attributes:
        product: c ↦ M c.
        transposed: u ↦ Mᵀ u.
        constant: b, where it is at hand.
        role: which derivative the solve is for, for messages: "backward" or "forward-mode".
    """

    product: Callable[[State], State]
    transposed: Callable[[State], State]
    constant: State | None = None
    role: str = "backward"


@dataclass(frozen=True)
class Step:
    """One iteration x ↦ g(x), and what else the map offers to a solver.

    Attributes:
        apply: the iteration on the whole working batch.
        rows: the same iteration for some of the samples only, given their indices; `None` if it cannot be had.
        objective: x ↦ (energy per sample, its gradient x − g(x)), if the map descends an energy.
        affine: the step's matrix, if it has one.
        precision: the dtype in which g is evaluated where that is not the state's (autocast); a criterion without a
            tolerance of its own asks for what it supports.
    """

    apply: Callable[[State], State]
    rows: Callable[[Tensor], Step] | None = None
    objective: Objective | None = None
    affine: Affine | None = None
    precision: torch.dtype | None = None

    def __call__(self, x: State) -> State:
        return self.apply(x)


def take(state: State, rows: Tensor) -> State:
    """The given samples of a state."""
    return [leaf.index_select(0, rows) for leaf in state]
