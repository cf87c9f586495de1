"""Products with the transposed Jacobian of a map: what the backward layer (4.10)-(4.13) is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fpi.maps import Leaves, Map
from fpi.solvers.base import Objective, State, Step

Gradients = tuple[Tensor | None, ...]


class Tape:
    """One recorded evaluation of a map at (x̂, leaves): products with its transposed Jacobian, not differentiable.

    The quick path: g runs once, every product re-uses its graph.  State and arguments are detached, so that the
    derivatives are the *partial* ones of (4.12) and (4.13).
    """

    def __init__(self, map_: AnyMap, x: Leaves, leaves: Leaves, needs: Sequence[bool]) -> None:
        names = len(map_.names)
        first_parameter = len(leaves) - names
        own_parameters = map_._holds(leaves)
        with torch.enable_grad():
            self.x_in = [leaf.detach().requires_grad_() for leaf in x]
            self.inputs = [
                leaf if own_parameters and i >= first_parameter else leaf.detach().requires_grad_(need)
                for i, (leaf, need) in enumerate(zip(leaves, needs, strict=True))
            ]
            self.out = map_(self.x_in, self.inputs)
        self.needs = needs
        self.attached = [i for i, leaf in enumerate(self.out) if leaf.requires_grad]

    def x(self, c: State) -> State:
        """(∂g/∂x)ᵀ c."""
        return self._products(self.x_in, c)

    def leaves(self, c: State) -> Gradients:
        """(∂g/∂leaf)ᵀ c for every leaf that needs a gradient, else None."""
        wanted = [leaf for leaf, need in zip(self.inputs, self.needs, strict=True) if need]
        found = iter(self._products(wanted, c))
        return tuple(next(found) if need else None for need in self.needs)

    def _products(self, inputs: Leaves, c: State) -> State:
        if not inputs or not self.attached:
            return [torch.zeros_like(leaf) for leaf in inputs]
        return list(
            torch.autograd.grad(
                [self.out[i] for i in self.attached],
                inputs,
                [c[i] for i in self.attached],
                retain_graph=True,
                materialize_grads=True,
            )
        )


class Differentiable:
    """The same products, differentiable in x̂, the leaves and c: the operator P of (4.14) applied to (4.11)."""

    def __init__(self, map_: AnyMap, x: Leaves, leaves: Leaves, needs: Sequence[bool]) -> None:
        self.map, self.x_hat, self.all_leaves, self.needs = map_, list(x), list(leaves), needs

    def x(self, c: State) -> State:
        """(∂g/∂x)ᵀ c."""
        pull = torch.func.vjp(lambda *x: tuple(self.map(list(x), self.all_leaves)), *self.x_hat)[1]
        return list(pull(tuple(c)))

    def leaves(self, c: State) -> Gradients:
        """(∂g/∂leaf)ᵀ c for every leaf that needs a gradient, else None."""
        wanted = [leaf for leaf, need in zip(self.all_leaves, self.needs, strict=True) if need]
        if not wanted:
            return tuple(None for _ in self.needs)

        def of_wanted(*values: Tensor) -> tuple[Tensor, ...]:
            given = iter(values)
            merged = [next(given) if need else leaf for leaf, need in zip(self.all_leaves, self.needs, strict=True)]
            return tuple(self.map(self.x_hat, merged))

        pull = torch.func.vjp(of_wanted, *wanted)[1]
        found = iter(pull(tuple(c)))
        return tuple(next(found) if need else None for need in self.needs)


class AdjointMap:
    """c ↦ (∂g/∂x)ᵀ c + ∇L (eq. 4.10) as a map of its own, over the leaves (x̂, leaves of g, ∇L)."""

    def __init__(self, base: AnyMap, needs: Sequence[bool], states: int) -> None:
        self.base, self.needs, self.states = base, needs, states
        self.names: list[str] = []  # nothing of it is a module's own parameter: all leaves are explicit

    def _holds(self, leaves: Leaves) -> bool:
        return False

    def _split(self, leaves: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        n = self.states
        return leaves[:n], leaves[n:-n], leaves[-n:]

    def __call__(self, c: State, leaves: Leaves) -> State:
        x, inner, v = self._split(leaves)
        product = Differentiable(self.base, x, inner, self.needs).x(c)
        return [a + b for a, b in zip(product, v, strict=True)]

    def bind(self, leaves: Leaves) -> Step:
        x, inner, v = self._split(leaves)
        if torch._C._are_functorch_transforms_active():
            return lambda c: self(c, leaves)
        tape = Tape(self.base, x, inner, self.needs)
        return lambda c: [a + b for a, b in zip(tape.x(c), v, strict=True)]

    def objective(self, leaves: Leaves) -> Objective | None:
        return None


class VmappedMap:
    """A map over one more leading dimension, for ``torch.vmap`` over a node; every leaf is explicit."""

    def __init__(self, base: AnyMap, leaf_dims: Sequence[int | None]) -> None:
        self.base, self.leaf_dims = base, tuple(leaf_dims)
        self.names: list[str] = []

    def _holds(self, leaves: Leaves) -> bool:
        return False

    def __call__(self, x: State, leaves: Leaves) -> State:
        mapped = torch.vmap(lambda x, leaves: self.base(x, leaves), in_dims=(0, list(self.leaf_dims)))
        out: State = mapped(list(x), list(leaves))
        return out

    def bind(self, leaves: Leaves) -> Step:
        return lambda x: self(x, leaves)

    def objective(self, leaves: Leaves) -> Objective | None:
        return None


AnyMap = Map | AdjointMap | VmappedMap
