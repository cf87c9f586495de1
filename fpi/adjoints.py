"""How a gradient passes through a fixed point: the backward FPI layer and its alternatives.

Given ∇L at x̂, an adjoint chooses the cotangent c with which (4.13) is evaluated, ∇_θ L = (∂g/∂θ)ᵀ c:

=================  ==========================================  ==================  =======================
adjoint            c                                           cost                exact
=================  ==========================================  ==================  =======================
``BackwardFPI``    fixed point of c = (∂g/∂x)ᵀ c + ∇L (4.10)   one product/iter    yes, to any order
``Dense``          (I − ∂g/∂x)⁻ᵀ ∇L by linear algebra          d products          yes, to any order
``Neumann(k)``     Σ_{j<k} ((∂g/∂x)ᵀ)ʲ ∇L                      k − 1 products      as k grows
``JacobianFree``   ∇L  (Fung et al. 2021, eq. 12)              none                no; a descent direction
``Unrolled``       no node: ordinary backpropagation           memory per iter     of the iterations run
=================  ==========================================  ==================  =======================
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpi.info import SolveInfo
from fpi.node import Call, solve_node
from fpi.products import AdjointMap, Differentiable, Tape
from fpi.solvers import Picard, Solver
from fpi.solvers.base import State


class Adjoint:
    """Base class; ``cotangent`` maps ∇L to c."""

    def cotangent(self, linear: Tape | Differentiable, v: State) -> tuple[State, SolveInfo | None]:
        """c for the incoming gradient ``v``, and the diagnostics if a solve was needed."""
        raise NotImplementedError  # pragma: no cover - every public adjoint defines it


@dataclass(frozen=True)
class BackwardFPI(Adjoint):
    """The thesis' backward FPI layer (4.12): c is the fixed point of c = (∂g/∂x)ᵀ c + ∇L, started at ∇L.

    Args:
        solver: default ``Picard()``, whose criterion (5.4) is relative and hence independent of the loss' scale.

    When a derivative of the gradient is wanted, the backward solve is itself a node of the graph whose adjoint is
    this object again: derivatives of any order, none of them through the iterations.
    """

    solver: Solver | None = None

    def cotangent(self, linear: Tape | Differentiable, v: State) -> tuple[State, SolveInfo | None]:
        solver = Picard() if self.solver is None else self.solver
        if isinstance(linear, Tape):
            return solver.solve(lambda c: [a + b for a, b in zip(linear.x(c), v, strict=True)], v)
        needs = linear.needs
        call = Call(AdjointMap(linear.map, needs, len(v)), solver, self, len(v))
        return solve_node(call, [leaf.detach() for leaf in v], [*linear.x_hat, *linear.all_leaves, *v])


@dataclass(frozen=True)
class JacobianFree(Adjoint):
    """Jacobian-free backpropagation (Fung et al. 2021): c = ∇L, as if x̂ had been one application of g."""

    def cotangent(self, linear: Tape | Differentiable, v: State) -> tuple[State, SolveInfo | None]:
        return v, None


@dataclass(frozen=True)
class Neumann(Adjoint):
    """The first ``terms`` terms of the Neumann series of (I − ∂g/∂x)⁻ᵀ ∇L; one term is :class:`JacobianFree`."""

    terms: int

    def __post_init__(self) -> None:
        _positive("Neumann", self.terms)

    def cotangent(self, linear: Tape | Differentiable, v: State) -> tuple[State, SolveInfo | None]:
        c = v
        for _ in range(self.terms - 1):
            c = [a + b for a, b in zip(linear.x(c), v, strict=True)]
        return c, None


@dataclass(frozen=True)
class Dense(Adjoint):
    """Per-sample dense Jacobians, for small states (d entries per sample, d products).

    Args:
        terms: ``None`` solves (I − ∂g/∂x)ᵀ c = ∇L directly (eq. 4.8); a number sums exactly that many terms of the
            Neumann series by repeated squaring.  ``terms=N`` is the gradient of N unrolled steps of a map that is
            linear around x̂, at the price of about 2·log₂N small matrix products.
    """

    terms: int | None = None

    def __post_init__(self) -> None:
        if self.terms is not None:
            _positive("Dense", self.terms)

    def cotangent(self, linear: Tape | Differentiable, v: State) -> tuple[State, SolveInfo | None]:
        if len(v) != 1:
            raise ValueError("Dense supports a state of one tensor; use BackwardFPI for a pytree")
        flat = v[0].reshape(v[0].shape[0], -1)
        batch, d = flat.shape
        unit = torch.eye(d, dtype=flat.dtype, device=flat.device)
        rows = [linear.x([unit[i].expand(batch, d).reshape(v[0].shape)])[0].reshape(batch, d) for i in range(d)]
        transposed = torch.stack(rows, dim=2)  # column i is Jᵀ e_i
        if self.terms is None:
            c = torch.linalg.solve(unit - transposed, flat[:, :, None])
        else:
            c = _geometric_sum(transposed, self.terms) @ flat[:, :, None]
        return [c.reshape(v[0].shape)], None


def _geometric_sum(a: Tensor, terms: int) -> Tensor:
    """I + A + … + A^(terms−1), from S_{2n} = S_n + Aⁿ S_n and S_{n+1} = I + A S_n over the bits of ``terms``."""
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
