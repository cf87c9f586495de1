"""Contestants on torch: bare loops, this library, torchdeq."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from case import Case, flat
from contestant import Run, Setting
from torch import Tensor

import fpi
from fpi.onednn import repeated


def bare_solve(case: Case, steps: int) -> Tensor:
    """x ← g(x), ``steps`` times, and nothing else; g's matrices packed once, as a solve of this library does."""
    with torch.no_grad(), repeated({}):
        source = case.g.inject(case.z)
        x = case.x0
        for _ in range(steps):
            x = case.g(x, source)
    return x


def bare_vjps(out: Tensor, x: Tensor, v: Tensor, steps: int) -> Tensor:
    """c ← (∂g/∂x)ᵀ c + v, ``steps`` times, on one tape; g's matrices packed once here as well."""
    c = v
    with repeated({}):
        for _ in range(steps):
            c = torch.autograd.grad(out, x, c, retain_graph=True)[0] + v
    return c


def bare(case: Case) -> list[Setting]:
    """A hand-written loop that is told how often to iterate: no library can be asked for less per iteration."""

    def gradient(steps: float) -> Run:
        parameters = list(case.g.parameters())

        def run() -> list[Tensor]:
            x = bare_solve(case, int(steps)).requires_grad_()
            (v,) = torch.autograd.grad(case.loss(x), x)
            out = case.g(x, case.g.inject(case.z))
            return list(torch.autograd.grad(out, parameters, bare_vjps(out, x, v, int(steps))))

        return run

    def forward(steps: float) -> Run:
        return lambda: (bare_solve(case, int(steps)), int(steps))

    return [Setting("bare Picard", "told the iterations", forward, lambda r: r, gradient, flat, steps=case.max_iter)]


def solvers(case: Case) -> dict[tuple[str, str], Callable[[float], fpi.Solver]]:
    """This library's solvers, by contestant and setting, as functions of the relative tolerance."""

    def options(tol: float, check: Any) -> dict[str, Any]:
        cap: dict[str, Any] = {"max_iter": case.max_iter, "on_failure": "ignore"}
        return cap | {"criterion": fpi.Relative(tol**2), "check_every": check}

    kinds: dict[str, Any] = {"Picard": fpi.Picard, "Anderson": fpi.Anderson, "Broyden": fpi.Broyden}
    made: dict[tuple[str, str], Callable[[float], fpi.Solver]] = {}
    for name, kind in kinds.items():
        for check in (1, "auto"):
            made[f"fpi {name}", f"check_every {check}"] = lambda tol, kind=kind, check=check: kind(
                **options(tol, check)
            )
    if case.energy:
        for first in (1.0, 100.0):
            made["fpi LBFGS", f"first_step {first:g}"] = lambda tol, first=first: fpi.LBFGS(
                **options(tol, 1), first_step=first
            )
    return made


def ours(case: Case) -> list[Setting]:
    made = solvers(case)
    krylov: dict[str, Any] = {"backward BiCGStab": fpi.BiCGStab}
    if case.energy:
        krylov["backward conjugate residuals"] = fpi.ConjugateResidual
    settings = []
    for (contestant, label), make in made.items():

        def forward(tol: float, make: Callable[[float], fpi.Solver] = make) -> Run:
            layer = case.layer(make(tol))

            def run() -> tuple[Tensor, int]:
                with torch.no_grad():
                    x = layer(case.z)
                assert layer.info is not None
                return x, layer.info.evaluations

            return run

        def adjoint(kind: str, tol: float, make: Callable[[float], fpi.Solver] = make) -> fpi.Adjoint:
            if kind == "dense adjoint":
                return fpi.Dense()
            if kind in krylov:
                options = {"criterion": fpi.Relative(tol**2), "max_iter": case.max_iter, "on_failure": "ignore"}
                return fpi.BackwardFPI(krylov[kind](**options))
            is_energy_solver = isinstance(make(tol), fpi.LBFGS)
            return fpi.BackwardFPI(made["fpi Anderson", "check_every 1"](tol) if is_energy_solver else make(tol))

        kinds = ["iterated"]
        if "check_every 1" not in label:
            kinds += [*krylov] + ["dense adjoint"] * case.energy
        for kind in kinds:

            def gradient(tol: float, kind: str = kind, make: Any = make, adjoint: Any = adjoint) -> Run:
                layer = case.layer(make(tol), adjoint(kind, tol))
                parameters = list(case.g.parameters())
                return lambda: list(torch.autograd.grad(case.loss(layer(case.z)), parameters))

            name = label if kind == "iterated" else f"{label}, {kind}"
            has_gradient = gradient if case.gradients else None
            once = forward if kind == "iterated" else None
            settings.append(Setting(contestant, name, once, lambda r: r, has_gradient, flat))
    return settings


def torchdeq(case: Case) -> list[Setting]:
    """torchdeq with the relative criterion; ``simple_fixed_point_iter``, which has none, is the bare loop.

    Its g has the packed matrices of this library's solves, too: solvers are compared, not products.
    """
    if importlib.util.find_spec("torchdeq") is None:
        return []
    from torchdeq import get_deq
    from torchdeq.solver import get_solver, register_solver
    from torchdeq.solver.anderson import anderson_solver

    # registered under a name of its own, so that the backward layer, which hands on no options, has the small ridge too
    register_solver("anderson small ridge", partial(anderson_solver, lam=1e-8))
    few = min(case.max_iter, 200)  # Broyden keeps a rank per iteration
    kinds = [
        ("torchdeq Picard", "default", "fixed_point_iter", case.max_iter),
        ("torchdeq Anderson", "lam 1e-4 (default)", "anderson", case.max_iter),
        ("torchdeq Anderson", "lam 1e-8", "anderson small ridge", case.max_iter),
        ("torchdeq Broyden", "default", "broyden", few),
    ]
    settings = []
    for contestant, label, solver, cap in kinds:

        def forward(tol: float, solver: str = solver, cap: int = cap) -> Run:
            def run() -> tuple[Tensor, int]:
                count = 0
                with torch.no_grad(), repeated({}):
                    source = case.g.inject(case.z)

                    def g(x: Tensor) -> Tensor:
                        nonlocal count
                        count += 1
                        return case.g(x, source)  # type: ignore[no-any-return]

                    x = get_solver(solver)(g, case.x0, tol=tol, stop_mode="rel", max_iter=cap)[0]
                return x, count

            return run

        def gradient(tol: float, solver: str = solver, cap: int = cap) -> Run:
            deq = get_deq(
                core="indexing", ift=True, f_solver=solver, b_solver=solver, f_tol=tol, b_tol=tol, f_stop_mode="rel",
                b_stop_mode="rel", f_max_iter=cap, b_max_iter=cap,
            )  # fmt: skip
            parameters = list(case.g.parameters())

            def run() -> list[Tensor]:
                source = case.g.inject(case.z)
                with repeated({}):
                    (x,), _ = deq(lambda x: case.g(x, source), case.x0)
                return list(torch.autograd.grad(case.loss(x), parameters))

            return run

        settings.append(Setting(contestant, label, forward, lambda r: r, gradient, flat))
    return settings
