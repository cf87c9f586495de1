"""Fixed points as network layers: `FPILayer`, and the thesis' two cases `FPI_NN` and `FPI_GD`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fpi.adjoints import Adjoint
from fpi.contraction import hold
from fpi.fixed_point import chosen, fixed_point
from fpi.info import SolveInfo
from fpi.onednn import chain, linear, take_activation
from fpi.parameters import lock_of
from fpi.solvers import Solver


class FPILayer(nn.Module):
    """x̂ = F(x0, z; θ), the fixed point of a module g(x, z) (eq. 4.3).

    Args:
        g: a module called as `g(x, z)` that returns the shape of x.  If it has a method `inject(z)`, that is
            evaluated once per solve and its result takes z's place: what depends on z alone is not repeated.
        state_shape: shape of x without the batch; `None` takes `g.state_shape_for(z)` if g has it, else z's shape.
        solver: forward solver, default `Picard()`.
        adjoint: default `BackwardFPI()`.

    Attributes:
        info: `fpi.SolveInfo` of the latest solve (its `backward` is filled in by the backward pass).
    """

    info: SolveInfo | None

    def __init__(
        self,
        g: nn.Module,
        *,
        state_shape: Sequence[int] | None = None,
        solver: Solver | None = None,
        adjoint: Adjoint | None = None,
    ) -> None:
        super().__init__()
        self.g = g
        self.state_shape = None if state_shape is None else tuple(state_shape)
        self.solver, self.adjoint = chosen(solver, adjoint)
        self.info = None

    @hold()
    def forward(self, z: Any, x0: Any = None, c0: Any = None) -> Any:
        """The fixed point for input z.

        Args:
            z: a tensor or pytree; tensors whose first dimension is the batch hold one entry a sample.
            x0: the initial point, default zeros, as in all of the thesis' experiments.
            c0: where the backward solve starts, default ∇L; `info.cotangent` of an earlier solve is a warm start.
        """
        if x0 is None:
            x0 = self.initial_state(z)
        inject = getattr(self.g, "inject", None)
        with lock_of(self.g):
            source = z if inject is None else inject(z)
        x, self.info = fixed_point(
            self.g,
            x0,
            source,
            solver=self.solver,
            adjoint=self.adjoint,
            c0=c0,
            per_sample=True,
            return_info=True,
        )
        return x

    def initial_state(self, z: Any) -> Tensor:
        """x0 = 0 for input z."""
        first: Tensor = pytree.tree_leaves(z)[0]
        shape = self.state_shape
        if shape is None:
            infer = getattr(self.g, "state_shape_for", None)
            shape = tuple(first.shape[1:]) if infer is None else infer(first)
        dtype = first.dtype if first.is_floating_point() else torch.get_default_dtype()
        return torch.zeros(first.shape[0], *shape, dtype=dtype, device=first.device)


class FPI_NN(FPILayer):
    """FPI_NN (thesis 4.5.1): g is a network on the concatenation [x, z] (eq. 5.5).

    Args:
        net: a module that takes [x, z], concatenated along dimension 1, and returns x's shape.  The first layer of
            an `nn.Sequential`, if it is `Linear` or an ungrouped `Conv2d`, is split into a map of x and a map of z,
            which is evaluated once per solve; parameters, their names and the outputs are those of the network on
            the concatenation.
        state_shape, solver, adjoint: as for `FPILayer`; of a split network the state's shape is inferred.
    """

    def __init__(self, net: nn.Module, **options: Any) -> None:
        super().__init__(SplitInput(net) if _can_be_split(net) else ConcatenatedInput(net), **options)


def _can_be_split(net: Any) -> TypeGuard[nn.Sequential]:
    first = next(iter(net), None) if isinstance(net, nn.Sequential) else None
    return isinstance(first, nn.Linear) or (isinstance(first, nn.Conv2d) and first.groups == 1)


class ConcatenatedInput(nn.Module):
    """g(x, z) = net([x, z]) as it is written."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        if not isinstance(net, nn.Module):
            raise TypeError(f"FPI_NN needs an nn.Module that takes [x, z], got {getattr(net, '__name__', net)!r}")
        self.net = net

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        out: Tensor = self.net(torch.cat([x, z], 1))
        return out


class SplitInput(nn.Module):
    """g(x, z) = net([x, z]) with the first layer's z-part hoisted out of the iteration."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net = net

    def state_shape_for(self, z: Tensor) -> tuple[int, ...]:
        """Channels (or features) that the first layer expects beside z's; z's remaining dimensions."""
        first = self.net[0]
        total = first.in_channels if isinstance(first, nn.Conv2d) else first.in_features
        assert isinstance(total, int)
        if z.dim() < 2 or not 0 < total - z.shape[1]:
            raise ValueError(f"z of shape {tuple(z.shape)} leaves no room for x among the first layer's {total} inputs")
        return (total - z.shape[1], *z.shape[2:])

    def inject(self, z: Tensor) -> Tensor:
        """The first layer's contribution of z, bias included."""
        first = self.net[0]
        weight: Tensor = first.weight[:, -z.shape[1] :]  # type: ignore[index]
        return self._first(z, weight, first.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, injected: Tensor) -> Tensor:
        weight: Tensor = self.net[0].weight[:, : x.shape[1]]  # type: ignore[index]
        layers = list(self.net)[1:]
        if isinstance(self.net[0], nn.Linear) and x.dim() == 2:
            hidden = linear(x, weight, added=injected, activation=take_activation(layers))
        else:
            hidden = self._first(x, weight, None)
            # the sum takes the product's memory: large hidden states do not fall out of the cache
            plain = not (torch.is_grad_enabled() or torch._C._are_functorch_transforms_active())
            in_place = plain and hidden.dtype == injected.dtype and hidden.shape == injected.shape
            hidden = hidden.add_(injected) if in_place else hidden + injected
        return chain(layers, hidden)

    def _first(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        first = self.net[0]
        if isinstance(first, nn.Conv2d):
            return first._conv_forward(x, weight, bias)
        return linear(x, weight, bias)


class FPI_GD(FPILayer):
    """FPI_GD (thesis 4.5.2): g is a gradient step on an energy, x − γ ∇f(x, z; θ) (eq. 4.25).

    Args:
        energy: a module called as `energy(x, z)` that returns one energy per sample, shape (batch,).  It may offer
            `inject(z)` (see `FPILayer`), `gradient(x, injected)`, the closed form of ∂f/∂x made of
            differentiable operations, and `value_and_gradient(x, injected)`; what is missing is left to autograd.
        step_size: γ.
        state_shape, solver, adjoint: as for `FPILayer`.  `solver=LBFGS()` uses the energy itself, and
            `adjoint=BackwardFPI(ConjugateResidual())` that its Hessian is symmetric.
    """

    def __init__(self, energy: nn.Module, *, step_size: float, **options: Any) -> None:
        super().__init__(GradientStep(energy, step_size), **options)


class GradientStep(nn.Module):
    """g(x, z) = x − γ ∇f(x, z)."""

    def __init__(self, energy: nn.Module, step_size: float) -> None:
        super().__init__()
        if not step_size > 0:
            raise ValueError(f"step_size (γ) must be > 0, got {step_size!r}")
        self.energy: Any = energy
        self.step_size = step_size

    def inject(self, z: Any) -> Any:
        """What the energy computes once per solve from z; z itself if it offers nothing."""
        return self.energy.inject(z) if hasattr(self.energy, "inject") else z

    def forward(self, x: Tensor, z: Any) -> Tensor:
        return torch.sub(x, self._gradient(x, z), alpha=self.step_size)

    def objective(self, x: Tensor, z: Any) -> tuple[Tensor, Tensor]:
        """Per sample: γ f(x, z) of shape (batch,), and its gradient γ ∇f, which is x − g(x, z)."""
        if hasattr(self.energy, "value_and_gradient"):
            value, gradient = self.energy.value_and_gradient(x, z)
        elif hasattr(self.energy, "gradient"):
            value, gradient = self.energy(x, z), self.energy.gradient(x, z)
        else:
            attach = torch.is_grad_enabled()  # the solve itself is recorded (Unrolled)
            with torch.enable_grad():
                alias = x.view_as(x) if attach and x.requires_grad else x.detach().requires_grad_()
                value = self._energy(alias, z)
                gradient = _derivative(value, alias, attach)
            value = value if attach else value.detach()
        return self.step_size * value, self.step_size * gradient

    def _energy(self, x: Tensor, z: Any) -> Tensor:
        value: Tensor = self.energy(x, z)
        if value.shape != x.shape[:1]:
            raise ValueError(
                f"an energy returns one value per sample, shape {tuple(x.shape[:1])}, got {tuple(value.shape)}"
            )
        return value

    def _gradient(self, x: Tensor, z: Any) -> Tensor:
        if hasattr(self.energy, "gradient"):
            gradient: Tensor = self.energy.gradient(x, z)
            return gradient
        if torch._C._are_functorch_transforms_active():
            return torch.func.grad(lambda x: self._energy(x, z).sum())(x)
        attach = torch.is_grad_enabled()
        with torch.enable_grad():
            # an alias, so that the derivative is the partial one even where z depends on x
            alias = x.view_as(x) if attach and x.requires_grad else x.detach().requires_grad_()
            return _derivative(self._energy(alias, z), alias, attach)


def _derivative(energies: Tensor, x: Tensor, create_graph: bool) -> Tensor:
    """∂f/∂x of every sample."""
    found: Tensor | None = None
    if energies.requires_grad:
        (found,) = torch.autograd.grad(energies.sum(), x, create_graph=create_graph, allow_unused=True)
    if found is None:
        raise ValueError("the energy does not depend on its first argument x: every x is a fixed point")
    return found
