"""Maps made from a map: its backward layer (4.10), its forward-mode derivative, its batched version for `vmap`.

Each has fixed points of its own, found by the same node: that is where derivatives of every order come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fpi.flat import FlatMap, Leaves, add, take_marked
from fpi.products import Differentiable, Tape
from fpi.solvers.step import Affine, State, Step


class AdjointMap(FlatMap):
    """c ↦ (∂g/∂x)ᵀ c + ∇L (eq. 4.10), over the leaves (x̂, leaves of g, ∇L)."""

    affine = True

    def __init__(self, base: FlatMap, needs: Sequence[bool], states: int) -> None:
        self.base, self.needs, self.states, self.precision = base, needs, states, base.precision
        inner = base.per_sample
        self.per_sample = None if inner is None else [True] * states + [*inner] + [True] * states

    def _split(self, leaves: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        n = self.states
        return leaves[:n], leaves[n:-n], leaves[-n:]

    def __call__(self, c: State, leaves: Leaves) -> State:
        x, inner, v = self._split(leaves)
        return add(Differentiable(self.base, x, inner, self.needs).x(c), list(v))

    def bind(self, leaves: Leaves) -> Step:
        x, inner, v = self._split(leaves)
        if torch._C._are_functorch_transforms_active():
            linear = Differentiable(self.base, x, inner, self.needs)
            return Step(
                lambda c: add(linear.x(c), list(v)), affine=Affine(linear.x, linear.push), precision=self.precision
            )
        return Tape(self.base, x, inner, self.needs).adjoint_step(list(v))


class TangentMap(FlatMap):
    """u ↦ (∂g/∂x) u + Σ (∂g/∂leaf) u_leaf, whose fixed point is the directional derivative of x̂.

    Its leaves are (x̂, leaves of g, u_leaf for each leaf that `needs` marks).
    """

    affine = True

    def __init__(self, base: FlatMap, needs: Sequence[bool], states: int) -> None:
        self.base, self.needs, self.states, self.precision = base, needs, states, base.precision
        inner = base.per_sample
        if inner is None:
            self.per_sample = None
        else:
            wanted = [mine for mine, need in zip(inner, needs, strict=True) if need]
            self.per_sample = [True] * states + [*inner] + wanted

    def _split(self, leaves: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        n, end = self.states, self.states + len(self.needs)
        return leaves[:n], leaves[n:end], leaves[end:]

    def __call__(self, u: State, leaves: Leaves) -> State:
        x, inner, tangents = self._split(leaves)
        return Differentiable(self.base, x, inner, self.needs).push(u, tangents)

    def bind(self, leaves: Leaves) -> Step:
        x, inner, tangents = self._split(leaves)
        linear = Differentiable(self.base, x, inner, self.needs)
        constant = linear.push([torch.zeros_like(leaf) for leaf in x], tangents)
        if torch._C._are_functorch_transforms_active():
            return Step(
                lambda u: add(linear.push(u), constant),
                affine=Affine(linear.push, linear.x, role="forward-mode"),
                precision=self.precision,
            )
        tape, marks = Tape(self.base, x, inner, self.needs), self.per_sample
        return Step(
            lambda u: add(tape.push(u), constant),
            None if marks is None else lambda rows: self.bind(take_marked(leaves, marks, rows)),
            affine=Affine(tape.push, tape.x, role="forward-mode"),
            precision=self.precision,
        )


class VmappedMap(FlatMap):
    """A map over one more leading dimension, for `torch.vmap` over a node; its entries take the role of samples."""

    def __init__(self, base: FlatMap, leaf_dims: Sequence[int | None]) -> None:
        self.base, self.leaf_dims = base, tuple(leaf_dims)
        self.per_sample = [dim is not None for dim in leaf_dims]
        self.affine, self.precision = base.affine, base.precision

    def __call__(self, x: State, leaves: Leaves) -> State:
        mapped = torch.vmap(lambda x, leaves: self.base(x, leaves), in_dims=(0, list(self.leaf_dims)))
        out: State = mapped(list(x), list(leaves))
        return out

    def bind(self, leaves: Leaves) -> Step:
        marks = list(self.per_sample or ())
        return Step(
            lambda x: self(x, leaves),
            lambda rows: self.bind(take_marked(leaves, marks, rows)),
            affine=self._affine(leaves) if self.base.affine else None,
            precision=self.precision,
        )

    def _affine(self, leaves: Leaves) -> Affine:
        def at(c: State) -> Differentiable:  # the products of an affine map are the same at every point
            return Differentiable(self, c, leaves, [False] * len(leaves))

        return Affine(lambda c: at(c).push(c), lambda c: at(c).x(c))
