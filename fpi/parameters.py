"""A module's parameters: which they are, where they are registered, and who may touch them."""

from __future__ import annotations

import threading
import weakref
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from fpi.flat import Leaves

# functional_call puts other tensors into a module for the time of a call: no other thread may call it then
_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()

# where a module is registered, by name, or (with None for the value) a parameter: what a traversal of a network finds
Slot = tuple[dict[str, Any], str, nn.Module | None]


def lock_of(module: nn.Module) -> AbstractContextManager[Any]:
    """What a thread must hold to call a module or to read its parameters."""
    return _LOCKS.setdefault(module, threading.RLock())


def modules_of(network: nn.Module) -> dict[str, nn.Module]:
    """What `dict(network.named_modules())` is, at a third of its price: every solve asks for it."""
    found: dict[str, nn.Module] = {}
    seen: set[nn.Module] = set()
    waiting = [("", network)]
    while waiting:
        prefix, module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        found[prefix] = module
        inner = f"{prefix}." if prefix else ""
        children = reversed(module._modules.items())
        waiting += [(inner + name, child) for name, child in children if child is not None]
    return found


def parameters_of(modules: dict[str, nn.Module]) -> tuple[dict[str, Tensor], list[Slot]]:
    """The parameters as `named_parameters` lists them and their places; behind these, the places of submodules."""
    named: dict[str, Tensor] = {}
    slots: list[Slot] = []
    seen: set[Tensor] = set()
    for prefix, module in modules.items():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter not in seen:
                seen.add(parameter)
                named[f"{prefix}.{name}" if prefix else name] = parameter
                slots.append((module._parameters, name, None))
    for module in modules.values():
        slots += [(module._modules, name, child) for name, child in module._modules.items() if child is not None]
    return named, slots


def registered_as(slots: list[Slot], parameters: Leaves) -> bool:
    """Does the network consist of the modules it consisted of, with these very parameters?"""
    for place, (registered, name, module) in enumerate(slots):
        if registered.get(name) is not (parameters[place] if module is None else module):
            return False
    return True
