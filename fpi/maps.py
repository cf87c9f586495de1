"""The map of a fixed-point node as a function of *explicit* tensors.

A node differentiates g with respect to its state, its arguments and its module's parameters.  This file turns "a
callable plus a pytree of arguments" into a function of flat lists of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

from fpi.contraction.budget import Held, Limited, holding, limited_weights
from fpi.flat import FlatMap, Leaves, take_marked
from fpi.parameters import Slot, lock_of, modules_of, parameters_of, registered_as
from fpi.solvers.step import Objective, State, Step


class Map(FlatMap):
    """x ↦ g(x, *args; θ) over flat tensors: `leaves` holds the tensors of `args`, then the parameters θ.

    Weights that a spectral budget limits follow as leaves of their own: computed from θ once, outside of the node, so
    that forward solve, backward solve and gradients share one computation of the norms, and its one derivative.

    With `per_sample`, tensors of `args` whose first dimension has the size of the batch carry one entry a sample.
    """

    def __init__(self, g: Callable[..., Any], x0: Any, args: tuple[Any, ...], per_sample: bool = False) -> None:
        self.g = g
        x_leaves, self.x_spec = pytree.tree_flatten(x0)
        self.x_leaves = _check_state(x_leaves)
        arg_leaves, self.arg_spec = pytree.tree_flatten(args)
        self.is_tensor = [isinstance(leaf, Tensor) for leaf in arg_leaves]
        self.constants = [None if tensor else leaf for leaf, tensor in zip(arg_leaves, self.is_tensor, strict=True)]
        self.module = g if isinstance(g, nn.Module) else None
        self.lock: AbstractContextManager[Any] = nullcontext() if self.module is None else lock_of(self.module)
        self.slots: list[Slot] = []
        named: dict[str, Tensor] = {}
        held: Held = {}
        if self.module is not None:
            with self.lock:
                modules = modules_of(self.module)
                named, self.slots = parameters_of(modules)
                held = limited_weights(modules.values())
        self.names = list(named)
        tensors = [leaf for leaf in arg_leaves if isinstance(leaf, Tensor)]
        self.first, batch = len(tensors), self.x_leaves[0].shape[0]  # place of the first parameter; size of the batch
        places = {id(parameter): place for place, parameter in enumerate(named.values())}
        self.budgets = {  # each with the places of the parameters it depends on; of others the norms are g's own affair
            budget: [places[id(source)] for source in limited.sources]
            for budget, limited in held.items()
            if all(id(source) in places for source in limited.sources)
        }
        self.leaves: list[Tensor] = [*tensors, *named.values(), *(held[budget].value for budget in self.budgets)]
        self.per_sample = None
        if per_sample or not tensors:
            self.per_sample = [leaf.dim() > 0 and leaf.shape[0] == batch for leaf in tensors]
            self.per_sample += [False] * (len(self.leaves) - self.first)
        device_type = self.x_leaves[0].device.type
        available = torch.amp.is_autocast_available(device_type)
        enabled = available and torch.is_autocast_enabled(device_type)
        self.precision = torch.get_autocast_dtype(device_type) if enabled else None
        self.device_type = device_type

    def _arguments(self, leaves: Leaves) -> tuple[Any, ...]:
        tensors = iter(leaves)
        merged = [next(tensors) if t else c for t, c in zip(self.is_tensor, self.constants, strict=True)]
        return pytree.tree_unflatten(merged, self.arg_spec)

    def _parameters(self, leaves: Leaves) -> dict[str, Tensor]:
        return dict(zip(self.names, leaves[self.first : self.first + len(self.names)], strict=True))

    def _limited(self, leaves: Leaves) -> Held:
        """The leaves that take the place of limited weights, wherever these would be computed from these parameters."""
        parameters, values = leaves[self.first :], leaves[self.first + len(self.names) :]
        return {
            budget: Limited([parameters[place] for place in places], True, value)
            for (budget, places), value in zip(self.budgets.items(), values, strict=True)
        }

    def _holds(self, leaves: Leaves) -> bool:
        """Are these the very parameters the module has now?  Then it can be called without substituting them."""
        if self.module is None:
            return True
        with self.lock:
            return registered_as(self.slots, leaves[self.first :])

    def _wrap(self, leaves: Leaves) -> Callable[[State], State]:
        args = self._arguments(leaves)
        parameters = None if self._holds(leaves) else self._parameters(leaves)
        limited = holding(self._limited(leaves)) if self.budgets else nullcontext()
        buffers: dict[str, Tensor] = {}
        if self.module is not None and torch._C._are_functorch_transforms_active():
            # a transform refuses updates of what it does not follow (running statistics): they go to copies
            buffers = dict(self.module.named_buffers())
        kind, dtype = self.device_type, self.precision
        one_tensor, as_is = self.x_spec.is_leaf(), not (self.budgets or parameters or buffers)

        def substituted(state: Any) -> Any:
            with limited:
                if parameters is None and not buffers:
                    return self.g(state, *args)
                assert self.module is not None
                given = (parameters or {}) | {name: buffer.clone() for name, buffer in buffers.items()}
                return torch.func.functional_call(self.module, given, (state, *args))

        def apply(x: State) -> State:
            state = x[0] if one_tensor else pytree.tree_unflatten(x, self.x_spec)
            with self.lock:
                out = self.g(state, *args) if as_is else substituted(state)
            out = [out] if one_tensor else pytree.tree_flatten(out)[0]
            if dtype is not None:
                out = [new.to(old.dtype) for new, old in zip(out, x, strict=True)]
            return out

        if dtype is None:
            return apply

        def apply_autocast(x: State) -> State:
            with torch.autocast(kind, dtype=dtype):
                return apply(x)

        return apply_autocast

    def __call__(self, x: State, leaves: Leaves) -> State:
        return self._wrap(leaves)(x)

    def owned(self, leaves: Leaves) -> Sequence[bool]:
        budgets = [False] * len(self.budgets)
        return [False] * self.first + [self._holds(leaves)] * len(self.names) + budgets

    def bind(self, leaves: Leaves) -> Step:
        """See `FlatMap.bind`; every evaluation is checked.

        Raises:
            ValueError: (in an evaluation) g changes its state in place, or returns another shape, dtype or device.
        """
        evaluate = self._wrap(leaves)

        def apply(x: State) -> State:
            before = [_version(leaf) for leaf in x]
            out = evaluate(x)
            if len(out) != len(x) or not all(map(_alike, out, x)):
                self._check_output(out, x)
            if before != [_version(leaf) for leaf in x]:
                raise ValueError("g changes its state x in place; return a new tensor: x * 2, not x.mul_(2)")
            return out

        return Step(apply, self._rows(leaves), self._objective(leaves), precision=self.precision)

    def _rows(self, leaves: Leaves) -> Callable[[Tensor], Step] | None:
        if self.per_sample is None:
            return None
        marks = self.per_sample
        return lambda rows: self.bind(take_marked(leaves, marks, rows))

    def _objective(self, leaves: Leaves) -> Objective | None:
        """The energy whose critical points are the fixed points, if g has one (`fpi.FPI_GD`)."""
        energy = getattr(self.g, "objective", None)
        if energy is None:
            return None
        args = self._arguments(leaves)

        def evaluate(x: State) -> tuple[Tensor, State]:
            with self.lock:
                value, gradient = energy(x[0], *args)
            return value, [gradient]

        return evaluate

    def _check_output(self, out: Any, x: State) -> None:
        if not all(isinstance(leaf, Tensor) for leaf in out) or len(out) != len(x):
            raise ValueError(f"g must return the structure of its state ({len(x)} tensors), got {type(out).__name__}")
        for new, old in zip(out, x, strict=True):
            if new.shape != old.shape or new.dtype != old.dtype or new.device != old.device:
                raise ValueError(
                    f"g must return the shape, dtype and device of its state x: expected {tuple(old.shape)} "
                    f"{old.dtype} on {old.device}, got {tuple(new.shape)} {new.dtype} on {new.device}. "
                    "Check x0 (or state_shape)."
                )

    def refuse_hidden_tensors(self) -> None:
        """Raise if g uses tensors that require gradients but are not among its arguments: they would get none.

        Raises:
            ValueError: naming the remedy.
        """
        if self.module is not None or not torch.is_grad_enabled():
            return
        with torch.enable_grad():
            out = self._wrap([leaf.detach() for leaf in self.leaves])([leaf.detach() for leaf in self.x_leaves])
        if any(_is_tracked(leaf) for leaf in out if isinstance(leaf, Tensor)):
            raise ValueError(
                "g uses tensors that require gradients but are not passed to it (a closure or a bound method), so they "
                "would silently receive none. Pass them as arguments, fixed_point(g, x0, w, ...), "
                "or give g as an nn.Module."
            )


def _is_tracked(x: Tensor) -> bool:
    """Does autograd, or a torch.func transform of any level, follow this tensor?"""
    if x.requires_grad or (forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None):
        return True
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(x)
    return wrapped and _is_tracked(torch._C._functorch.get_unwrapped(x))


def _alike(new: Any, old: Tensor) -> bool:
    return isinstance(new, Tensor) and new.shape == old.shape and new.dtype is old.dtype and new.device == old.device


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


def _check_state(leaves: list[Any]) -> list[Tensor]:
    if not leaves or not all(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in leaves):
        raise TypeError("x0 must be a floating-point tensor or a pytree of them")
    sizes = {leaf.shape[0] if leaf.dim() else None for leaf in leaves}
    if None in sizes or len(sizes) != 1:
        raise ValueError(
            f"the first dimension of every tensor of x0 is the batch, got shapes {[tuple(v.shape) for v in leaves]}"
        )
    return leaves
