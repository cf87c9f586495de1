"""What Anderson and Broyden share: flat states, a window of past differences, and the safeguard."""

from __future__ import annotations

import torch
from torch import Tensor

from fpi.solvers.base import Rule
from fpi.solvers.step import State

_FARTHER = 1e3


class History(Rule):
    """An accelerated rule on flat states x (batch, features) with residuals f = g(x) − x and plain steps x + β f.

    The safeguard: a sample whose residual exceeds `growth` times its best so far, or for which the method proposes
    weights that are not finite, takes a plain step and forgets its history.
    """

    def __init__(self, memory: int, growth: float, mixing: float, x: State) -> None:
        self.memory, self.growth, self.mixing = memory, growth, mixing
        self.shapes = [leaf.shape[1:] for leaf in x]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.last: tuple[Tensor, Tensor] | None = None  # plain step and residual of the state before
        self.best: Tensor | None = None
        self.first: Tensor | None = None  # residual of the first state
        self.n = 0  # differences seen; the window's slots are written in turn

    def __call__(self, x: State, gx: State) -> State:
        flat, plain = _flatten(x), _flatten(gx)
        f = plain - flat
        if self.mixing != 1:
            plain = torch.add(flat, f, alpha=self.mixing)
        size = torch.linalg.vector_norm(f, dim=1)
        if self.last is None or self.best is None or self.first is None:
            proposal, self.best, self.first = plain, size, size
        else:
            self.observe(plain, f, self.last, self.n % self.memory)
            self.n += 1
            proposal, weights = self.propose(plain, f)
            total = weights.sum(1, dtype=torch.promote_types(f.dtype, torch.float32))
            trusted = torch.add(size, total, alpha=0) <= self.growth * self.best  # 0 · inf is nan, which is not below
            self.best = torch.minimum(size, self.best)
            if not bool(trusted.all()):
                distrust = ~trusted
                self.forget(distrust)
                # a restart may begin somewhat farther away; one from ever farther is divergence, and ends as such
                self.best = torch.where(distrust, torch.minimum(size, _FARTHER * self.first), self.best)
                proposal = torch.where(distrust[:, None], plain, proposal)
        self.last = (plain, f)
        parts = proposal.split(self.sizes, 1)
        return [part.reshape(len(flat), *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def observe(self, plain: Tensor, f: Tensor, last: tuple[Tensor, Tensor], slot: int) -> None:
        """Take in how far the plain step and the residual moved since the `last` ones, in place of the oldest."""
        raise NotImplementedError  # pragma: no cover

    def propose(self, plain: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        """The next state from the history, and the weights (batch, terms) that its terms have in it."""
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


def put(window: Tensor, value: Tensor, slot: int) -> Tensor:
    """The window with `value` in a slot: in place, except where the solve itself is recorded (`Unrolled`)."""
    if value.requires_grad or window.requires_grad:
        return torch.select_scatter(window, value, 1, slot)
    window[:, slot] = value
    return window


def put_difference(window: Tensor, new: Tensor, old: Tensor, slot: int) -> Tensor:
    """The window with new − old in a slot, as `put`, without a tensor in between."""
    if new.requires_grad or old.requires_grad or window.requires_grad:
        return put(window, new - old, slot)
    torch.sub(new, old, out=window[:, slot])
    return window


def dots(window: Tensor, w: Tensor) -> Tensor:
    """(batch, 1, memory) inner products of w (batch, features) with the rows of a window.

    In this orientation the product of a batch of CPU matrices is several times faster than as matrix times column.
    """
    return torch.bmm(w[:, None], window.mT)


def _flatten(x: State) -> Tensor:
    if len(x) == 1:
        return x[0].reshape(x[0].shape[0], x[0].shape[1:].numel())
    return torch.cat([_flatten([leaf]) for leaf in x], dim=1)
