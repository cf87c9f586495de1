"""The loop that linear solvers share: check, advance by a recursion, freeze what has converged."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from fpi.info import SolveInfo
from fpi.solvers.base import Solver
from fpi.solvers.samples import minus, same_product
from fpi.solvers.step import Affine, State, Step, take
from fpi.solvers.watch import Watch


class Recursion:
    """One solve of (I − M) c = b: (c, r) ↦ the next ones, r = b − (I − M) c, with what it remembers in between.

    Attributes:
        products: with M or Mᵀ an iteration.
        used, moved: a state of this iteration and M times it.
        states, numbers: names of the attributes that go on to the next one: states, and tensors (batch,).
    """

    products: int
    used: State
    moved: State
    states: tuple[str, ...]
    numbers: tuple[str, ...]

    def step(self, affine: Affine, c: State, r: State) -> tuple[State, State]:
        """The next c and r."""
        raise NotImplementedError  # pragma: no cover - every recursion defines it

    def prepare(self, r: State) -> None:
        """After a step whose converged samples were held back: `r` is what the next one starts from."""

    def keep(self, rows: Tensor) -> None:
        """Only these samples of the working batch go on."""
        for name in self.states:
            setattr(self, name, take(getattr(self, name), rows))
        for name in self.numbers:
            setattr(self, name, getattr(self, name)[rows])


class LinearSolver(Solver):
    """A solver of affine steps c = M c + b, which a backward solve (4.10) is and a forward solve in general is not."""

    def _recursion(self, r: State) -> Recursion:
        """A fresh recursion for a solve whose first residual is r."""
        raise NotImplementedError  # pragma: no cover - every linear solver defines it

    def _adjoint(self) -> str:
        """How the solver is used."""
        return f"BackwardFPI({type(self).__name__}())"

    def _solve(self, step: Step, x0: State) -> tuple[State, SolveInfo]:
        if step.affine is None:
            name = type(self).__name__
            raise ValueError(f"{name} solves affine steps only: use it for the backward solve, as {self._adjoint()}")
        watch, c = Watch(self, step, x0), x0
        b = step.affine.constant or watch.evaluate([torch.zeros_like(leaf) for leaf in c])
        r = minus(watch.evaluate(c), c)
        recursion = self._recursion(r)
        for n in range(1, self.max_iter + 1):
            if watch.check(n, r, b):
                break
            assert watch.step.affine is not None
            new_c, new_r = recursion.step(watch.step.affine, c, r)
            for _ in range(recursion.products):
                watch.count()
            c, r = watch.keep_done(c, new_c), watch.keep_done(r, new_r)
            recursion.prepare(r)
            rows = watch.settle(c, partial(same_product, recursion.used, recursion.moved))
            if rows is not None:
                b, c, r = (take(state, rows) for state in (b, c, r))
                recursion.keep(rows)
        else:
            watch.check(n, r, b)
        return watch.finish(c)
