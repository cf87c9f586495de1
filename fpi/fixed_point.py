"""The fixed point as a node of the computational graph (thesis 4.1-4.3).

:func:`fixed_point` solves x̂ = g(x̂, *args) without recording the iterations and attaches the solution to the graph;
how a gradient passes through it is the business of an adjoint (:mod:`fpi.adjoints`).  The backward layer is the same
node again, over the adjoint map (4.10), which is why derivatives of every order exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from torch.utils import _pytree as pytree

from fpi.adjoints import Adjoint, BackwardFPI, Unrolled
from fpi.info import SolveInfo
from fpi.maps import Map
from fpi.node import Call, solve_node
from fpi.solvers import Picard, Solver

X = TypeVar("X")


@overload
def fixed_point(
    g: Callable[..., X],
    x0: X,
    *args: Any,
    solver: Solver | None = ...,
    adjoint: Adjoint | None = ...,
    return_info: Literal[False] = ...,
) -> X: ...
@overload
def fixed_point(
    g: Callable[..., X],
    x0: X,
    *args: Any,
    solver: Solver | None = ...,
    adjoint: Adjoint | None = ...,
    return_info: Literal[True],
) -> tuple[X, SolveInfo]: ...


def fixed_point(
    g: Callable[..., Any],
    x0: Any,
    *args: Any,
    solver: Solver | None = None,
    adjoint: Adjoint | None = None,
    return_info: bool = False,
) -> Any:
    """Solve x̂ = g(x̂, *args) (eq. 4.4) and attach x̂ to the graph.

    Args:
        g: a function or ``nn.Module`` (x, *args) → x.  A module's parameters get gradients; every other tensor that
            should get one must be among ``args``.  Samples must not influence each other through g.
        x0: the initial point, a floating tensor or a pytree of them; the first dimension is the batch.  It gets no
            gradient: a fixed point does not depend on where the iteration started.
        args: tensors, pytrees of tensors, or constants, handed to g unchanged.
        solver: how x̂ is found; default ``Picard()``.
        adjoint: how gradients pass; default ``BackwardFPI()``, exact to any order.
        return_info: also return the :class:`fpi.SolveInfo`.

    Returns:
        x̂ with the structure of ``x0``, or ``(x̂, info)``.

    Raises:
        FixedPointError: non-finite values, or no convergence under ``on_failure="raise"``.
        ValueError: g changes the state's shape, dtype or device, or hides tensors that require gradients.
    """
    solver = Picard() if solver is None else solver
    adjoint = BackwardFPI() if adjoint is None else adjoint
    map_ = Map(g, x0, args)
    x_leaves = [leaf.detach() for leaf in map_.x_leaves]
    if isinstance(adjoint, Unrolled):
        leaves, info = solver.solve(map_.bind(map_.leaves), x_leaves, map_.objective(map_.leaves))
    else:
        map_.refuse_hidden_tensors()
        call = Call(map_, solver, adjoint, len(x_leaves))
        leaves, info = solve_node(call, x_leaves, map_.leaves)
    x: Any = leaves[0] if map_.x_spec.is_leaf() else pytree.tree_unflatten(leaves, map_.x_spec)
    return (x, info) if return_info else x
