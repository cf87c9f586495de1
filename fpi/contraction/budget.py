"""A network that contracts at every value of its parameters: the spectral-budget parametrisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fpi.contraction.norms import Conv
from fpi.contraction.path import chain, chain_norm, state_width
from fpi.scope import Scope


def spectral_budget_(
    net: nn.Module, factor: float, *, state_features: int | None = None, slack: float = 1.1
) -> SpectralBudget:
    """Parametrise a network, in place, so that ‖∂g/∂x‖ ≤ `factor` for every x and every parameter value.

    The x-columns (channels) of the first layer become W_x · min(1, factor / b), b the product of the norms' certified
    bounds (`fpi.contraction.operator_norm`) and of the activations' slopes along the path of x.  All other
    weights, z's columns and the biases are free.  Nothing less restrictive bounds the product: every network within
    the budget is left as it is, while a budget split over the layers would exclude those whose norms are uneven.
    Gradients pass through b as well, so that they are those of the function that is computed.

    Args:
        net: an FPI_NN, a `Sequential` g(x), or a single `Linear` or convolution.
        factor: the bound, in (0, 1) for a contraction; larger values merely limit the constant.
        state_features: features (channels) of x among the first layer's inputs; default: the last layer's outputs
            for an FPI_NN, all inputs otherwise.
        slack: how much each layer's bound may exceed its norm; nearer to 1 is tighter and dearer.

    Returns:
        The parametrisation.  `parametrize.remove_parametrizations(first_layer, "weight")` makes the present weight
        a plain parameter again.  In a `state_dict` the weight is called `parametrizations.weight.original`: load
        an unconstrained network's weights before giving it a budget.

    Raises:
        TypeError: a layer on the path whose norm is not known.
        ValueError: a `factor` that is not positive, a weight that has a budget already.
    """
    if not 0 < factor < float("inf"):
        raise ValueError(f"factor must be a number > 0 (below 1 for a contraction), got {factor!r}")
    modules = chain(net)
    first = modules[0]
    if parametrize.is_parametrized(first, "weight") and any(
        isinstance(p, SpectralBudget)
        for p in first.parametrizations["weight"]  # type: ignore[index]
    ):
        raise ValueError("this network has a spectral budget already; set the factor of that one")
    budget = SpectralBudget(tuple(modules), factor, state_width(net, modules, state_features), slack)
    with torch.no_grad():
        budget(first.weight)  # refuse what has no norm now, not in the first solve
    parametrize.register_parametrization(first, "weight", budget)
    return budget


class SpectralBudget(nn.Module):
    """The parametrisation of `spectral_budget_`; `factor` may be changed at any time.

    Its reference to the other layers is not a registration: their parameters keep their one name.
    """

    def __init__(self, modules: tuple[nn.Module, ...], factor: float, state_features: int, slack: float) -> None:
        super().__init__()
        self.modules_on_path = modules  # a tuple: not registered as children
        self.factor, self.state_features, self.slack = factor, state_features, slack

    def forward(self, weight: Tensor) -> Tensor:
        others = [m.weight for m in self.modules_on_path[1:] if isinstance(m, nn.Linear | Conv)]
        held = _HELD.get()
        if held is None or torch.compiler.is_compiling():
            return self._limit(weight)
        entry = held.get(self)
        if entry is None or not entry.serves([weight, *others]):
            entry = held[self] = Limited([weight, *others], torch.is_grad_enabled(), self._limit(weight))
        return entry.value

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is assigned to the weight becomes the unconstrained parameter, and is limited when it is read."""
        return weight

    def _limit(self, weight: Tensor) -> Tensor:
        x = weight[:, : self.state_features]
        bound = chain_norm(self.modules_on_path, x, self.slack)
        x = x * (self.factor / bound.clamp_min(self.factor)).to(x.dtype)
        return torch.cat([x, weight[:, self.state_features :]], 1) if x.shape != weight.shape else x

    def extra_repr(self) -> str:
        return f"factor={self.factor}, state_features={self.state_features}, slack={self.slack}"


class Limited(NamedTuple):
    """A limited weight, and the tensors and the grad mode from which it was computed."""

    sources: list[Any]
    attached: bool
    value: Tensor

    def serves(self, sources: list[Any]) -> bool:
        same = all(a is b for a, b in zip(self.sources, sources, strict=True))
        return same and (self.attached or not torch.is_grad_enabled())


Held = dict[SpectralBudget, Limited]

# Not parametrize.cached(): that cache is the process', so that another thread keeps it alive beyond an optimiser's
# step, and it does not notice parameters that are substituted (functional_call), as in the node's backward pass.
_HELD: ContextVar[Held | None] = ContextVar("fpi.contraction.hold", default=None)


@contextmanager
def hold() -> Iterator[None]:
    """Compute limited weights once inside this block: for one solve, in which the parameters do not change.

    The cache is this thread's and this block's, and serves only the very tensors it was computed from: parameters
    that are substituted inside the block (`functional_call`, `vmap`) are limited anew, gradients stay exact.
    Changing a parameter *in place* inside the block is not noticed.  Blocks nest; the outermost one counts.
    """
    if _HELD.get() is not None:
        yield
        return
    with holding({}):
        yield


def holding(held: Held) -> Scope[Held | None]:
    """Inside the block, `held` serves and collects the limited weights."""
    return Scope(_HELD, held)


def limited_weights(modules: Iterable[nn.Module]) -> Held:
    """The weights of all budgets among the modules, as held by the present block: computed if they were not yet."""
    lists = [child for child in modules if isinstance(child, parametrize.ParametrizationList)]
    budgets = {budget: chain for chain in lists for budget in chain if isinstance(budget, SpectralBudget)}
    if not budgets:
        return {}
    with hold():
        for chain in budgets.values():
            chain()
        held = _HELD.get() or {}
        return {budget: held[budget] for budget in budgets if budget in held}
