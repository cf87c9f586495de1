"""Solvers: frozen option objects with one method, ``solve(step, x0, objective=None) -> (x, SolveInfo)``."""

from fpi.solvers.anderson import Anderson
from fpi.solvers.base import Solver
from fpi.solvers.lbfgs import LBFGS
from fpi.solvers.picard import Picard

__all__ = ["LBFGS", "Anderson", "Picard", "Solver"]
