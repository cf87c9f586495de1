"""Contestants on JAX, compiled for the CPU: jaxopt and optimistix, over the whole batch and mapped over samples.

Like the torch contestants, a run starts with what depends on z alone.  Tolerances are traced, so that a setting
compiles once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from case import Case
from contestant import Run, Setting
from jax_maps import available, maps, to_jax, to_torch
from torch import Tensor

os.environ.setdefault("EQX_ON_ERROR", "nan")  # a linear solve of optimistix that breaks down loses, no more


# Each of these: (g, energy, x0, args, tol, cap, linear solver) → (x̂, evaluations).


def _jaxopt_picard(g: Any, energy: Any, x0: Any, args: Any, tol: Any, cap: int, linear: Any) -> Any:
    import jaxopt

    solver = jaxopt.FixedPointIteration(g, maxiter=cap, tol=tol, implicit_diff_solve=linear)
    x, state = solver.run(x0, args)
    return x, state.iter_num


def _jaxopt_anderson(
    g: Any, energy: Any, x0: Any, args: Any, tol: Any, cap: int, linear: Any, ridge: float = 1e-5
) -> Any:
    import jaxopt

    solver = jaxopt.AndersonAcceleration(g, maxiter=cap, tol=tol, ridge=ridge, implicit_diff_solve=linear)
    x, state = solver.run(x0, args)
    return x, state.num_fun_eval


def _jaxopt_lbfgs(g: Any, energy: Any, x0: Any, args: Any, tol: Any, cap: int, linear: Any, search: str) -> Any:
    import jax
    import jaxopt

    def value_and_grad(x: Any, args: Any) -> Any:
        return energy(x, args).sum(), x - g(x, args)

    solver = jaxopt.LBFGS(
        value_and_grad, value_and_grad=True, maxiter=cap, tol=tol, linesearch=search, max_stepsize=1e4,
        implicit_diff_solve=linear,
    )  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):
        x, state = solver.run(x0, args)
    return x, state.num_fun_eval


def _optimistix_picard(g: Any, energy: Any, x0: Any, args: Any, tol: Any, cap: int, linear: Any) -> Any:
    import optimistix as optx

    adjoint = optx.ImplicitAdjoint() if linear is None else optx.ImplicitAdjoint(linear)
    solver = optx.FixedPointIteration(rtol=0.0, atol=tol, norm=optx.two_norm)
    solution = optx.fixed_point(g, solver, x0, args, max_steps=cap, adjoint=adjoint, throw=False)
    return solution.value, solution.stats["num_steps"]


def _optimistix_lbfgs(g: Any, energy: Any, x0: Any, args: Any, tol: Any, cap: int, linear: Any) -> Any:
    import optimistix as optx

    adjoint = optx.ImplicitAdjoint() if linear is None else optx.ImplicitAdjoint(linear)
    solver = optx.LBFGS(rtol=tol, atol=tol, norm=optx.two_norm)
    solution = optx.minimise(
        lambda x, args: energy(x, args).sum(), solver, x0, args, max_steps=cap, adjoint=adjoint, throw=False
    )
    return solution.value, solution.stats["num_steps"]


def _linear_solvers(library: str, energy: bool) -> dict[str, Callable[[Any], Any]]:
    """The linear solvers of the implicit derivative, by name, as functions of the relative tolerance."""
    if library == "jaxopt":
        from jaxopt import linear_solve as solve

        found = {
            "normal CG (default)": lambda tol: partial(solve.solve_normal_cg, tol=tol, maxiter=300),
            "BiCGStab": lambda tol: partial(solve.solve_bicgstab, tol=tol, maxiter=300),
        }
        return found | ({"CG": lambda tol: partial(solve.solve_cg, tol=tol, maxiter=300)} if energy else {})
    import lineax as lx

    # the default, dense, would need a (batch · features)² matrix; lineax measures every entry against
    # atol + rtol·|b|, which rtol alone makes unreachable where b is nearly 0 (the cotangents here are about 1)
    return {
        "GMRES": lambda tol: lx.GMRES(rtol=tol, atol=tol, stagnation_iters=100, max_steps=300),
        "BiCGStab": lambda tol: lx.BiCGStab(rtol=tol, atol=tol, max_steps=300),
    }


def settings(case: Case) -> list[Setting]:
    """All JAX contestants of a case; none where the libraries are not installed."""
    if not available():
        return []
    kinds: list[tuple[str, str, Any]] = [
        ("jaxopt Picard", "", _jaxopt_picard),
        ("jaxopt Anderson", "ridge 1e-5 (default)", _jaxopt_anderson),
        ("jaxopt Anderson", "ridge 1e-8", partial(_jaxopt_anderson, ridge=1e-8)),
        ("optimistix Picard", "", _optimistix_picard),
    ]
    if case.energy:
        kinds += [
            ("jaxopt LBFGS", "zoom (default)", partial(_jaxopt_lbfgs, search="zoom")),
            ("jaxopt LBFGS", "backtracking", partial(_jaxopt_lbfgs, search="backtracking")),
            ("optimistix LBFGS", "", _optimistix_lbfgs),
        ]
    made = []
    for contestant, label, solve in kinds:
        whole_only = case.x0.shape[0] == 1 or label == "backtracking"
        for where in ("whole batch",) if whole_only else ("whole batch", "per sample"):
            text = f"{where}, {label}".strip(", ")
            made.append(_Compiled(case, solve, where == "per sample").setting(contestant, text))
        if not case.gradients or "default" in label:
            continue
        # gradients over the whole batch only: mapped over samples they hold a copy of the parameters for each
        for name, linear in _linear_solvers(contestant.split()[0], case.energy).items():
            text = ", ".join(part for part in ("whole batch", label, f"backward {name}") if part)
            made.append(_Compiled(case, solve, False, linear).setting(contestant, text, forward=False))
    return made


class _Compiled:
    """One solver on one case, compiled on first use; tolerances are given relative to ‖x̂‖."""

    def __init__(self, case: Case, solve: Any, mapped: bool, linear: Any = None) -> None:
        self.case, self.solve, self.mapped, self.linear = case, solve, mapped, linear
        self.compiled: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}

    def setting(self, contestant: str, label: str, forward: bool = True) -> Setting:
        kinds = (partial(self._run, "forward"), None) if forward else (None, partial(self._run, "gradient"))
        return Setting(contestant, label, kinds[0], self._read, kinds[1], self._read_gradient, self.seconds)

    def _run(self, kind: str, tol: float) -> Run:
        import jax
        import jax.numpy as jnp

        if kind not in self.compiled:
            self.parameters = to_jax(dict(self.case.g.named_parameters()))
            self.z, self.x0 = to_jax(self.case.z), to_jax(self.case.x0)
            rows = 1 if not self.mapped else self.case.x0.shape[0]
            self.scale = self.case.scale / rows**0.5
            function = self._forward if kind == "forward" else jax.grad(self._loss)
            start = time.perf_counter()
            self.compiled[kind] = jax.jit(function).lower(self.parameters, self.z, self.x0, jnp.float32(0)).compile()
            self.seconds[kind] = time.perf_counter() - start
        compiled, tolerance = self.compiled[kind], jnp.float32(tol)
        return lambda: jax.block_until_ready(compiled(self.parameters, self.z, self.x0, tolerance))

    def _forward(self, parameters: Any, z: Any, x0: Any, tol: Any) -> Any:
        import jax

        inject, g, energy = maps(self.case)
        source = inject(parameters, z)

        def step(x: Any, args: Any) -> Any:
            return g(args[0], x, args[1])

        def value(x: Any, args: Any) -> Any:
            assert energy is not None
            return energy(args[0], x, args[1])

        linear = None if self.linear is None else self.linear(tol)
        tol = tol * self.scale  # these libraries' tolerances are absolute: a help that their users do not have
        if not self.mapped:
            return self.solve(step, value, x0, (parameters, source), tol, self.case.max_iter, linear)

        def single(x0: Any, source: Any) -> Any:
            row = jax.tree_util.tree_map(lambda leaf: leaf[None], source)
            x, count = self.solve(step, value, x0[None], (parameters, row), tol, self.case.max_iter, linear)
            return x[0], count

        x, count = jax.vmap(single)(x0, source)
        return x, count.max()

    def _loss(self, parameters: Any, z: Any, x0: Any, tol: Any) -> Any:
        import jax

        x, _ = self._forward(parameters, z, x0, tol)
        return (to_jax(self.case.v) * (jax.nn.sigmoid(x) if self.case.energy else x)).sum()

    def _read(self, result: Any) -> tuple[Tensor, int]:
        return to_torch(result[0]), int(result[1])

    def _read_gradient(self, result: Any) -> Tensor:
        names = [name for name, _ in self.case.g.named_parameters()]
        return torch.cat([to_torch(result[name]).double().reshape(-1) for name in names])
