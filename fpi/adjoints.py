"""How a gradient passes through a fixed point: the backward FPI layer and its alternatives.

Given ∇L at x̂, an adjoint chooses the cotangent c with which (4.13) is evaluated, ∇_θ L = (∂g/∂θ)ᵀ c:

=================  ==========================================  ==================  =======================
adjoint            c                                           cost                exact
=================  ==========================================  ==================  =======================
`BackwardFPI`      fixed point of c = (∂g/∂x)ᵀ c + ∇L (4.10)   one product/iter    yes, to any order
`NormalCG`         the same by CG on the normal equations      2 products/iter     yes, to any order
`Dense`            (I − ∂g/∂x)⁻ᵀ ∇L by linear algebra          d products          yes, to any order
`Neumann(k)`       Σ_{j<k} ((∂g/∂x)ᵀ)ʲ ∇L                      k − 1 products      as k grows
`JacobianFree`     ∇L  (Fung et al. 2021, eq. 12)              none                no; a descent direction
`Unrolled`         no node: ordinary backpropagation           memory per iter     of the iterations run
=================  ==========================================  ==================  =======================
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fpi.criteria import Criterion
from fpi.derived import AdjointMap, TangentMap
from fpi.flat import Leaves
from fpi.info import ConvergenceWarning, FixedPointError, OnFailure, SolveInfo
from fpi.node import Call, solve_node
from fpi.products import Differentiable, Tape
from fpi.solvers import ConjugateGradient, Picard, Solver
from fpi.solvers.base import expect
from fpi.solvers.step import State


class Adjoint:
    """Base class; `cotangent` maps ∇L to c."""

    def cotangent(
        self, linear: Tape | Differentiable, v: State, c0: State | None = None
    ) -> tuple[State, SolveInfo | None]:
        """c for the incoming gradient `v`, and the diagnostics if a solve was needed; `c0` starts that solve."""
        raise NotImplementedError  # pragma: no cover - every public adjoint defines it

    def tangent(self, linear: Differentiable, leaf_tangents: Leaves) -> State:
        """Forward mode: the derivative of x̂ along tangents of the leaves that `linear.needs` marks."""
        raise NotImplementedError(
            f"{type(self).__name__} has no forward mode (torch.func.jvp): use the adjoint BackwardFPI() or NormalCG(), "
            "or reverse mode (torch.func.vjp, jacrev)"
        )


@dataclass(frozen=True)
class BackwardFPI(Adjoint):
    """The thesis' backward FPI layer (4.12): c is the fixed point of c = (∂g/∂x)ᵀ c + ∇L, started at ∇L.

    Args:
        solver: default `Picard()`, whose criterion (5.4) is relative and hence independent of the loss' scale.
            `BiCGStab()` and `Anderson()` need fewer products where g contracts slowly, and no contraction;
            `ConjugateResidual()` needs the fewest, for a symmetric ∂g/∂x as that of FPI_GD.

    When a derivative of the gradient is wanted, the backward solve is itself a node of the graph whose adjoint is
    this object again: derivatives of any order, none of them through the iterations.  Forward mode solves
    u = (∂g/∂x) u + (∂g/∂θ) u_θ with the same solver.

    An incoming gradient that is not finite (a loss that overflowed, which a gradient scaler is going to skip) is
    handed on as it is, with a `fpi.ConvergenceWarning`; a solve that diverges from a finite one raises.
    """

    solver: Solver | None = None

    def __post_init__(self) -> None:
        if self.solver is not None:
            expect("BackwardFPI(solver={})", self.solver, Solver, "a solver, such as fpi.Picard()")

    def cotangent(
        self, linear: Tape | Differentiable, v: State, c0: State | None = None
    ) -> tuple[State, SolveInfo | None]:
        solver = Picard() if self.solver is None else self.solver
        start = v if c0 is None else c0
        try:
            if isinstance(linear, Tape):
                return solver.solve(linear.adjoint_step(v), start)
            call = Call(AdjointMap(linear.map, linear.needs, len(v)), solver, self, len(v))
            return solve_node(call, [leaf.detach() for leaf in start], [*linear.state, *linear.all_leaves, *v])
        except FixedPointError:
            if solver.on_failure == "raise" or all(bool(torch.isfinite(leaf).all()) for leaf in v):
                raise
            message = "the gradient that reaches the fixed point is not finite; it is handed on unsolved"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
            return v, None

    def tangent(self, linear: Differentiable, leaf_tangents: Leaves) -> State:
        states = len(linear.state)
        solver = Picard() if self.solver is None else self.solver
        call = Call(TangentMap(linear.map, linear.needs, states), solver, self, states)
        start = [torch.zeros_like(leaf) for leaf in linear.state]
        return solve_node(call, start, [*linear.state, *linear.all_leaves, *leaf_tangents])[0]


@dataclass(frozen=True, kw_only=True)
class NormalCG(Adjoint):
    """(I − ∂g/∂x)ᵀ c = ∇L by conjugate gradients on the normal equations: the baseline of Fung et al. (2021).

    Exact to any order, as `BackwardFPI`, and without a contraction; two products an iteration, and g must have
    second derivatives.  (The released code of that paper solves another system: see the tests against dense algebra.)

    Args:
        max_iter, criterion, on_failure, compact, trace: as for `fpi.Solver`; 500 iterations are that paper's.
    """

    max_iter: int = 500
    criterion: Criterion | None = None
    on_failure: OnFailure = "warn"
    compact: bool = True
    trace: bool = False

    def __post_init__(self) -> None:
        self._backward()  # refuses bad options at once

    def _backward(self) -> BackwardFPI:
        given = {option.name: getattr(self, option.name) for option in fields(self)}
        return BackwardFPI(ConjugateGradient(**{name: value for name, value in given.items() if value is not None}))

    def cotangent(
        self, linear: Tape | Differentiable, v: State, c0: State | None = None
    ) -> tuple[State, SolveInfo | None]:
        return self._backward().cotangent(linear, v, c0)

    def tangent(self, linear: Differentiable, leaf_tangents: Leaves) -> State:
        return self._backward().tangent(linear, leaf_tangents)


@dataclass(frozen=True)
class JacobianFree(Adjoint):
    """Jacobian-free backpropagation (Fung et al. 2021): c = ∇L, as if x̂ had been one application of g."""

    def cotangent(
        self, linear: Tape | Differentiable, v: State, c0: State | None = None
    ) -> tuple[State, SolveInfo | None]:
        return v, None


@dataclass(frozen=True)
class Neumann(Adjoint):
    """The first `terms` terms of the Neumann series of (I − ∂g/∂x)⁻ᵀ ∇L; one term is `JacobianFree`."""

    terms: int

    def __post_init__(self) -> None:
        _positive("Neumann", self.terms)

    def cotangent(
        self, linear: Tape | Differentiable, v: State, c0: State | None = None
    ) -> tuple[State, SolveInfo | None]:
        c = v
        for _ in range(self.terms - 1):
            c = [a + b for a, b in zip(linear.x(c), v, strict=True)]
        return c, None


@dataclass(frozen=True)
class Dense(Adjoint):
    """Per-sample dense Jacobians, for small states (d entries per sample, d products).

    Args:
        terms: `None` solves (I − ∂g/∂x)ᵀ c = ∇L directly (eq. 4.8); a number sums exactly that many terms of the
            Neumann series by repeated squaring.  `terms=N` is the gradient of N unrolled steps of a map that is
            linear around x̂, at the price of about 2·log₂N small matrix products.

    Raises:
        FixedPointError: (in the backward pass) I − ∂g/∂x is singular.
    """

    terms: int | None = None

    def __post_init__(self) -> None:
        if self.terms is not None:
            _positive("Dense", self.terms)

    def cotangent(
        self, linear: Tape | Differentiable, v: State, c0: State | None = None
    ) -> tuple[State, SolveInfo | None]:
        if len(v) != 1:
            raise ValueError("Dense supports a state of one tensor; use BackwardFPI for a pytree")
        flat = v[0].reshape(v[0].shape[0], v[0].shape[1:].numel())
        batch, d = flat.shape
        unit = torch.eye(d, dtype=flat.dtype, device=flat.device)
        rows = [linear.x([unit[i].expand(batch, d).reshape(v[0].shape)])[0].reshape(batch, d) for i in range(d)]
        transposed = torch.stack(rows, dim=2)  # column i is Jᵀ e_i
        if self.terms is None:
            c, failed = torch.linalg.solve_ex(unit - transposed, flat[:, :, None])
            if not torch._C._are_functorch_transforms_active() and bool(failed.any()):
                raise FixedPointError(
                    f"Dense: I − ∂g/∂x is singular for {int((failed != 0).sum())} of {batch} samples: x̂ has no "
                    "derivative there (a flat energy, or a contraction constant of 1)"
                )
        else:
            c = _geometric_sum(transposed, self.terms) @ flat[:, :, None]
        return [c.reshape(v[0].shape)], None


def _geometric_sum(a: Tensor, terms: int) -> Tensor:
    """I + A + … + A^(terms−1), from S_{2n} = S_n + Aⁿ S_n and S_{n+1} = I + A S_n over the bits of `terms`."""
    unit = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
    total, power = unit, a  # S_1, A^1
    for bit in bin(terms)[3:]:
        total, power = total + power @ total, power @ power
        if bit == "1":
            total, power = unit + a @ total, a @ power
    return total


@dataclass(frozen=True)
class Unrolled(Adjoint):
    """No implicit node: the iterations are recorded and backpropagated through (memory grows with their number)."""


def _positive(name: str, terms: int) -> None:
    if not isinstance(terms, int) or terms < 1:
        raise ValueError(f"{name}(terms=...) must be an integer ≥ 1, got {terms!r}")
