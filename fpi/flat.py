"""Maps over flat lists of tensors: the common form in which nodes, products and derived maps see a g."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fpi.solvers.step import State, Step

Leaves = Sequence[Tensor]


class FlatMap:
    """x ↦ g(x; leaves), both flat lists of tensors.

    Attributes:
        per_sample: says of every leaf whether its first dimension is the batch; `None` if that is not known, and
            then samples cannot be solved apart from their batch.
        affine: is x ↦ g(x) affine?  Then its steps offer `Affine`.
        precision: as in `Step`.
    """

    per_sample: Sequence[bool] | None
    affine: bool = False
    precision: torch.dtype | None = None

    def __call__(self, x: State, leaves: Leaves) -> State:
        """g as a differentiable function of its state and of every other tensor."""
        raise NotImplementedError  # pragma: no cover - every map defines it

    def bind(self, leaves: Leaves) -> Step:
        """g with everything but the state fixed, for repeated evaluation in a solve."""
        raise NotImplementedError  # pragma: no cover - every map defines it

    def owned(self, leaves: Leaves) -> Sequence[bool]:
        """Which leaves g uses without being handed them (a module's parameters): an alias would get no gradient."""
        return [False] * len(leaves)


def take_marked(leaves: Leaves, marks: Sequence[bool], rows: Tensor) -> list[Tensor]:
    """The given samples of the leaves that carry the batch, the other leaves as they are."""
    return [leaf.index_select(0, rows) if mine else leaf for leaf, mine in zip(leaves, marks, strict=True)]


def add(a: State, b: State) -> State:
    """a + b, leaf by leaf."""
    return [u + v for u, v in zip(a, b, strict=True)]
