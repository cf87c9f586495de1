"""The autograd node behind `fpi.fixed_point`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

from fpi.derived import VmappedMap
from fpi.flat import FlatMap, Leaves
from fpi.info import SolveInfo
from fpi.products import Differentiable, Tape
from fpi.solvers.base import Solver
from fpi.solvers.step import State

if TYPE_CHECKING:
    from fpi.adjoints import Adjoint


@dataclass
class Call:
    """What one solve needs beside its tensors.

    Attributes:
        states: how many tensors make the state.
        c0: where the backward solve starts.
        structure: the state's tree, in which `info.cotangent` is given.
    """

    map: FlatMap
    solver: Solver
    adjoint: Adjoint
    states: int
    c0: State | None = None
    structure: pytree.TreeSpec | None = None
    info: SolveInfo | None = None


def solve_node(call: Call, x0: Leaves, leaves: Leaves) -> tuple[State, SolveInfo]:
    """Run the node; returns the solution, attached where a derivative may be asked for, and the diagnostics."""
    recorded = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
    followed = recorded or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    run = FixedPointNode.apply if followed else FixedPointNode.forward
    out = run(call, *x0, *leaves)
    assert call.info is not None
    return list(out), call.info


class FixedPointNode(torch.autograd.Function):
    """Inputs: a `Call`, the initial state (no gradient), the leaves of the map. Outputs: the fixed point."""

    @staticmethod
    def forward(call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        x0, leaves = list(tensors[: call.states]), tensors[call.states :]
        with torch.no_grad():
            x, call.info = call.solver.solve(call.map.bind(leaves), x0)
        # g may return its state or an argument, or a view of one, which a node must not: its output is a value
        shared = [leaf._is_view() or any(leaf is given for given in tensors) for leaf in x]
        return tuple(leaf.clone() if mine else leaf for leaf, mine in zip(x, shared, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call: Call = inputs[0]
        ctx.call = call
        ctx.save_for_backward(*output, *inputs[1 + call.states :])
        ctx.save_for_forward(*output, *inputs[1 + call.states :])

    @staticmethod
    def backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
        """The backward FPI layer: (4.12) for c, then (4.13)."""
        call: Call = ctx.call
        x, leaves = ctx.saved_tensors[: call.states], ctx.saved_tensors[call.states :]
        needs = ctx.needs_input_grad[1 + call.states :]
        if any(torch._C._functorch.is_legacy_batchedtensor(leaf) for leaf in v):
            raise NotImplementedError(
                "is_grads_batched=True and vectorize=True are not supported through a fixed point: "
                "use torch.func.jacrev or torch.func.vmap"
            )
        # With grad mode on, a derivative of this derivative is wanted: use operations that have one.
        products = Differentiable if torch.is_grad_enabled() else Tape
        linear = products(call.map, x, leaves, needs)
        c, info = call.adjoint.cotangent(linear, list(v), call.c0)
        if call.info is not None:
            call.info.backward = info
            if call.structure is not None and isinstance(linear, Tape):
                call.info.cotangent = pytree.tree_unflatten(c, call.structure)
        return (None, *[None] * call.states, *linear.leaves(c))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """The derivative of x̂ along tangents of the leaves: the fixed point of a `TangentMap`."""
        call: Call = ctx.call
        x, leaves = ctx.saved_tensors[: call.states], ctx.saved_tensors[call.states :]
        of_leaves = tangents[1 + call.states :]
        needs = [tangent is not None for tangent in of_leaves]
        given = [tangent for tangent in of_leaves if tangent is not None]
        return tuple(call.adjoint.tangent(Differentiable(call.map, x, leaves, needs), given))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], call: Call, *tensors: Tensor) -> tuple[Any, Any]:
        """One solve for all of the mapped dimension, whose entries take the role of samples."""
        front = [t if d is None else t.movedim(d, 0) for t, d in zip(tensors, in_dims[1:], strict=True)]
        x0 = [
            leaf.expand(info.batch_size, *leaf.shape) if d is None else leaf
            for leaf, d in zip(front[: call.states], in_dims[1:], strict=False)
        ]
        leaf_dims = [None if d is None else 0 for d in in_dims[1 + call.states :]]
        mapped = Call(VmappedMap(call.map, leaf_dims), call.solver, call.adjoint, call.states)
        out = FixedPointNode.apply(mapped, *x0, *front[call.states :])
        call.info = mapped.info
        return out, tuple(0 for _ in out)
