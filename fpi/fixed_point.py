"""The fixed point as a node of the computational graph (thesis 4.1-4.3).

`fixed_point` solves x̂ = g(x̂, *args) without recording the iterations and attaches the solution to the graph;
how a gradient passes through it is the business of an adjoint (`fpi.adjoints`).  The backward layer is the same
node again, over the adjoint map (4.10), which is why derivatives of every order exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeVar, overload

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active as _transforms_active
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters
from torch.utils import _pytree as pytree

from fpi.adjoints import Adjoint, BackwardFPI, Unrolled
from fpi.contraction import hold
from fpi.info import SolveInfo
from fpi.maps import Map
from fpi.node import Call, solve_node
from fpi.solvers import Picard, Solver
from fpi.solvers.base import expect

X = TypeVar("X")


@overload
def fixed_point(
    g: Callable[..., X],
    x0: X,
    *args: Any,
    solver: Solver | None = ...,
    adjoint: Adjoint | None = ...,
    c0: X | None = ...,
    per_sample: bool = ...,
    return_info: Literal[False] = ...,
) -> X: ...
@overload
def fixed_point(
    g: Callable[..., X],
    x0: X,
    *args: Any,
    solver: Solver | None = ...,
    adjoint: Adjoint | None = ...,
    c0: X | None = ...,
    per_sample: bool = ...,
    return_info: Literal[True],
) -> tuple[X, SolveInfo]: ...


@hold()
def fixed_point(
    g: Callable[..., Any],
    x0: Any,
    *args: Any,
    solver: Solver | None = None,
    adjoint: Adjoint | None = None,
    c0: Any = None,
    per_sample: bool = False,
    return_info: bool = False,
) -> Any:
    """Solve `x̂ = g(x̂, *args)` (eq. 4.4) and attach x̂ to the graph.

    Args:
        g: a function or `nn.Module` `(x, *args) → x`.  A module's parameters get gradients; every other tensor that
            should get one must be among `args`.  Samples must not influence each other through g.
        x0: the initial point, a floating tensor or a pytree of them; the first dimension is the batch.  It gets no
            gradient: a fixed point does not depend on where the iteration started.
        args: tensors, pytrees of tensors, or constants, handed to g unchanged.
        solver: how x̂ is found; default `Picard()`.
        adjoint: how gradients pass; default `BackwardFPI()`, exact to any order.
        c0: where the backward solve starts, with the structure of `x0`; default ∇L.  A later solve of nearly the same
            problem starts best from the earlier one's `info.cotangent`.
        per_sample: tensors of `args` whose first dimension has the size of the batch hold one entry a sample.
            Samples that have converged can then leave the working batch (`Solver(compact=True)`).
        return_info: also return the `fpi.SolveInfo`.

    Returns:
        x̂ with the structure of `x0`, or `(x̂, info)`.

    Raises:
        FixedPointError: non-finite values, or no convergence under `on_failure="raise"`.
        TypeError: x0, the solver or the adjoint is something else.
        ValueError: g changes the state's shape, dtype or device, changes it in place, or hides tensors that require
            gradients.
        NotImplementedError: forward mode over forward mode, or forward mode with an adjoint that has none.
    """
    solver, adjoint = chosen(solver, adjoint)
    if torch.is_inference_mode_enabled():  # g may need autograd itself: FPI_GD's energy without a closed form
        with torch.inference_mode(False), torch.no_grad():
            x0, args = pytree.tree_map_only(torch.Tensor, _as_normal, (x0, args))
            found = fixed_point(g, x0, *args, solver=solver, adjoint=adjoint, per_sample=per_sample, return_info=True)
        return found if return_info else found[0]
    _refuse_nested_forward_mode()
    map_ = Map(g, x0, args, per_sample)
    x_leaves = [leaf.detach() for leaf in map_.x_leaves]
    c_leaves = None if c0 is None else _like_state(c0, map_)
    if isinstance(adjoint, Unrolled):
        leaves, info = solver.solve(replace(map_.bind(map_.leaves), rows=None), x_leaves)
    else:
        map_.refuse_hidden_tensors()
        call = Call(map_, solver, adjoint, len(x_leaves), c_leaves, map_.x_spec)
        leaves, info = solve_node(call, x_leaves, map_.leaves)
    x: Any = leaves[0] if map_.x_spec.is_leaf() else pytree.tree_unflatten(leaves, map_.x_spec)
    return (x, info) if return_info else x


def chosen(solver: Solver | None, adjoint: Adjoint | None) -> tuple[Solver, Adjoint]:
    """The solver and the adjoint, or the defaults for what is `None`.

    Raises:
        TypeError: one of them is something else, the class instead of an object of it for example.
    """
    solver = Picard() if solver is None else solver
    adjoint = BackwardFPI() if adjoint is None else adjoint
    expect("solver={}", solver, Solver, "a solver, such as fpi.Picard() or fpi.Anderson()")
    expect("adjoint={}", adjoint, Adjoint, "an adjoint, such as fpi.BackwardFPI()")
    return solver, adjoint


def _as_normal(x: Tensor) -> Tensor:
    return x.clone() if x.is_inference() else x


def _like_state(c0: Any, map_: Map) -> list[Any]:
    leaves, spec = pytree.tree_flatten(c0)
    shapes = [tuple(leaf.shape) for leaf in map_.x_leaves]
    if spec != map_.x_spec or [tuple(leaf.shape) for leaf in leaves] != shapes:
        raise ValueError(f"c0 must have the structure and shapes of x0, {shapes}")
    return [leaf.detach() for leaf in leaves]


def _refuse_nested_forward_mode() -> None:
    """Forward over forward would silently lose a term: PyTorch does not pass both tangents to a node's `jvp`."""
    levels = [level.key() for level in retrieve_all_functorch_interpreters()] if _transforms_active() else []
    if levels.count(torch._C._functorch.TransformType.Jvp) > 1:
        raise NotImplementedError(
            "forward mode over forward mode is not supported through a fixed point: "
            "take one of the derivatives by reverse mode, jacfwd(jacrev(f)) or jacrev(jacfwd(f))"
        )
