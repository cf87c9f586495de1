"""What Anderson and Broyden share: flat states, a window of past differences, and the safeguard."""

from __future__ import annotations

import torch
from torch import Tensor

from fpi.solvers.base import Rule
from fpi.solvers.step import State

_FARTHER = 1e3


class History(Rule):
    """An accelerated rule on flat states x (batch, 1, features) with residuals f = g(x) − x and plain steps x + β f.

    The safeguard: a sample whose residual exceeds `growth` times its best so far, or for which the method proposes
    weights that are not finite, takes a plain step and forgets its history.

    After many evaluations of g the code of every small operation has to be fetched anew: what a rule costs is their
    number.
    """

    def __init__(self, memory: int, growth: float, mixing: float, x: State) -> None:
        self.memory, self.growth, self.mixing = memory, growth, mixing
        self.shapes = [leaf.shape for leaf in x]
        self.sizes = [leaf.shape[1:].numel() for leaf in x]
        self.next: tuple[Tensor, Tensor] | None = None  # plain step and residual of the present state
        self.last: tuple[Tensor, Tensor] | None = None  # of the state before
        self.best: Tensor | None = None
        self.first: Tensor | None = None  # residual of the first state
        self.n = 0  # differences seen; the window's slots are written in turn

    def change(self, x: State, gx: State) -> State:
        self.next = self._residual(x, gx)
        return self._shaped(self.next[1].detach())

    def __call__(self, x: State, gx: State) -> State:
        plain, f = self._residual(x, gx) if self.next is None else self.next
        size = torch.linalg.vector_norm(f, dim=2)
        if self.last is None or self.best is None or self.first is None:
            proposal, self.best, self.first = plain, size, size
        else:
            self.observe(plain, f, self.last, self.n % self.memory)
            self.n += 1
            proposal, weights = self.propose(plain, f)
            excess, self.best = torch.sub(size, self.best, alpha=self.growth), torch.minimum(size, self.best)
            # 0 · inf is nan, which is not below zero either
            if len(f) and not torch.add(excess.max(), weights.sum(), alpha=0).item() <= 0:
                total = weights.sum(2, dtype=torch.promote_types(f.dtype, torch.float32))
                distrust = ~(torch.add(excess, total, alpha=0) <= 0)
                self.forget(distrust[:, 0])
                # a restart may begin somewhat farther away; one from ever farther is divergence, and ends as such
                self.best = torch.where(distrust, torch.minimum(size, _FARTHER * self.first), self.best)
                proposal = torch.where(distrust[:, :, None], plain, proposal)
        self.last, self.next = (plain, f), None
        return self._shaped(proposal)

    def _residual(self, x: State, gx: State) -> tuple[Tensor, Tensor]:
        flat, plain = _flatten(x), _flatten(gx)
        f = plain - flat
        return plain if self.mixing == 1 else torch.add(flat, f, alpha=self.mixing), f

    def _shaped(self, flat: Tensor) -> State:
        parts = (flat,) if len(self.sizes) == 1 else flat.split(self.sizes, 2)
        return [part.reshape(len(flat), *shape[1:]) for part, shape in zip(parts, self.shapes, strict=True)]

    def observe(self, plain: Tensor, f: Tensor, last: tuple[Tensor, Tensor], slot: int) -> None:
        """Take in how far the plain step and the residual moved since the `last` ones, in place of the oldest."""
        raise NotImplementedError  # pragma: no cover

    def propose(self, plain: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        """The next state from the history, and the weights (batch, 1, terms) that its terms have in it."""
        raise NotImplementedError  # pragma: no cover

    def windows(self) -> list[str]:
        """Names of the attributes that hold history, each a tensor with the batch first or None."""
        raise NotImplementedError  # pragma: no cover

    def forget(self, samples: Tensor) -> None:
        """Zero the history of these samples (a mask): zero differences have no influence."""
        for name in self.windows():
            window = getattr(self, name)
            setattr(self, name, window.masked_fill(samples.reshape(-1, *[1] * (window.dim() - 1)), 0))

    def keep(self, rows: Tensor) -> None:
        if self.last is not None and self.best is not None and self.first is not None:
            self.last = (self.last[0][rows], self.last[1][rows])
            self.best, self.first = self.best[rows], self.first[rows]
        for name in self.windows():
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[rows])


def put(window: Tensor, value: Tensor, slot: int, dim: int = 1) -> Tensor:
    """The window with `value` in a slot: in place, except where the solve itself is recorded (`Unrolled`)."""
    if value.requires_grad or window.requires_grad:
        return torch.slice_scatter(window, value, dim, slot, slot + 1)
    window.narrow(dim, slot, 1).copy_(value)
    return window


def put_difference(window: Tensor, new: Tensor, old: Tensor, slot: int) -> Tensor:
    """The window with new − old in a slot, as `put`, without a tensor in between."""
    if new.requires_grad or old.requires_grad or window.requires_grad:
        return put(window, new - old, slot)
    torch.sub(new, old, out=window.narrow(1, slot, 1))
    return window


def dots(window: Tensor, w: Tensor) -> Tensor:
    """(batch, 1, memory) inner products of w (batch, 1, features) with the rows of a window.

    In this orientation the product of a batch of CPU matrices is several times faster than as matrix times column.
    """
    return torch.bmm(w, window.mT)


def _flatten(x: State) -> Tensor:
    if len(x) == 1:
        return x[0].reshape(x[0].shape[0], 1, x[0].shape[1:].numel())
    return torch.cat([_flatten([leaf]) for leaf in x], dim=2)
