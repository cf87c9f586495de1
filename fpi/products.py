"""Products with the Jacobian of a map and its transpose: what the backward layer (4.10)-(4.13) is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fpi.flat import FlatMap, Leaves, add, take_marked
from fpi.solvers.step import Affine, State, Step, take

Gradients = tuple[Tensor | None, ...]


class Tape:
    """One recorded evaluation of a map at (x̂, leaves): products with its Jacobian, not differentiable.

    The quick path: g runs once, every product re-uses its graph.  State and arguments are detached, so that the
    derivatives are the *partial* ones of (4.12) and (4.13).
    """

    def __init__(self, map_: FlatMap, x: Leaves, leaves: Leaves, needs: Sequence[bool]) -> None:
        self.map, self.state, self.all_leaves, self.needs = map_, x, leaves, needs
        with torch.enable_grad():
            self.x_in = [leaf.detach().requires_grad_() for leaf in x]
            self.inputs = [
                leaf if own else leaf.detach().requires_grad_(need)
                for leaf, own, need in zip(leaves, map_.owned(leaves), needs, strict=True)
            ]
            self.out = map_(self.x_in, self.inputs)
        self.attached = [i for i, leaf in enumerate(self.out) if leaf.requires_grad]
        self._pulled: tuple[list[Tensor], list[Tensor]] | None = None

    def x(self, c: State) -> State:
        """(∂g/∂x)ᵀ c."""
        return self._products(self.x_in, c)

    def leaves(self, c: State) -> Gradients:
        """(∂g/∂leaf)ᵀ c for every leaf that needs a gradient, else None."""
        wanted = [leaf for leaf, need in zip(self.inputs, self.needs, strict=True) if need]
        found = iter(self._products(wanted, c))
        return tuple(next(found) if need else None for need in self.needs)

    def push(self, u: State) -> State:
        """(∂g/∂x) u, as the derivative of (∂g/∂x)ᵀ w with respect to w: it needs g's second derivative, once."""
        if self._pulled is None:
            with torch.enable_grad():
                w = [torch.zeros_like(leaf, requires_grad=True) for leaf in self.out]
                self._pulled = w, self._products(self.x_in, w, create_graph=True)
        w, pulled = self._pulled
        attached = [i for i, leaf in enumerate(pulled) if leaf.requires_grad]
        if not attached:
            return [torch.zeros_like(leaf) for leaf in w]
        outputs, weights = [pulled[i] for i in attached], [u[i] for i in attached]
        return list(torch.autograd.grad(outputs, w, weights, retain_graph=True, materialize_grads=True))

    def adjoint_step(self, v: State) -> Step:
        """One iteration c ↦ (∂g/∂x)ᵀ c + v of the backward layer (4.10)."""
        marks = self.map.per_sample

        def rows(index: Tensor) -> Step:
            assert marks is not None
            leaves = take_marked(self.all_leaves, marks, index)
            return Tape(self.map, take(list(self.state), index), leaves, self.needs).adjoint_step(take(v, index))

        affine = Affine(self.x, self.push, v)
        return Step(
            lambda c: add(self.x(c), v), None if marks is None else rows, affine=affine, precision=self.map.precision
        )

    def _products(self, inputs: Leaves, c: State, create_graph: bool = False) -> State:
        if not inputs or not self.attached:
            return [torch.zeros_like(leaf) for leaf in inputs]
        return list(
            torch.autograd.grad(
                [self.out[i] for i in self.attached],
                inputs,
                [c[i] for i in self.attached],
                retain_graph=True,
                create_graph=create_graph,
                materialize_grads=True,
            )
        )


class Differentiable:
    """The same products, differentiable in x̂, the leaves and c: the operator P of (4.14) applied to (4.11)."""

    def __init__(self, map_: FlatMap, x: Leaves, leaves: Leaves, needs: Sequence[bool]) -> None:
        self.map, self.state, self.all_leaves, self.needs = map_, list(x), list(leaves), needs

    def x(self, c: State) -> State:
        """(∂g/∂x)ᵀ c."""
        pull = torch.func.vjp(self._of_state, *self.state)[1]
        return list(pull(tuple(c)))

    def leaves(self, c: State) -> Gradients:
        """(∂g/∂leaf)ᵀ c for every leaf that needs a gradient, else None."""
        wanted = self._wanted(self.all_leaves)
        if not wanted:
            return tuple(None for _ in self.needs)
        pull = torch.func.vjp(lambda *values: self._of_all(*self.state, *values), *wanted)[1]
        found = iter(pull((*c, *[torch.zeros_like(leaf) for leaf in wanted])))
        return tuple(next(found) if need else None for need in self.needs)

    def push(self, u: State, leaf_tangents: Leaves = ()) -> State:
        """(∂g/∂x) u + Σ (∂g/∂leaf) u_leaf, as the derivative of the transposed products, which are linear in w.

        `leaf_tangents` has one tensor for every leaf that `needs` marks, or is empty: those terms are left out.
        """
        wanted = self._wanted(self.all_leaves) if leaf_tangents else []
        of = self._of_all if wanted else self._of_state
        nothing = [torch.zeros_like(leaf) for leaf in wanted]

        def pull(*w: Tensor) -> tuple[Tensor, ...]:
            found: tuple[Tensor, ...] = torch.func.vjp(of, *self.state, *wanted)[1]((*w, *nothing))
            return found

        push = torch.func.vjp(pull, *[torch.zeros_like(leaf) for leaf in self.state])[1]
        return list(push((*u, *leaf_tangents)))

    def _wanted(self, leaves: Leaves) -> list[Tensor]:
        return [leaf for leaf, need in zip(leaves, self.needs, strict=True) if need]

    def _of_state(self, *x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.map(list(x), self.all_leaves))

    def _of_all(self, *values: Tensor) -> tuple[Tensor, ...]:
        """g, then the wanted leaves themselves: a leaf that g does not use breaks torch.func.vjp inside a transform."""
        n = len(self.state)
        given = iter(values[n:])
        merged = [next(given) if need else leaf for leaf, need in zip(self.all_leaves, self.needs, strict=True)]
        return (*self.map(list(values[:n]), merged), *[leaf.view_as(leaf) for leaf in values[n:]])
