"""Solvers: frozen option objects with one method, `solve(step, x0) -> (x, SolveInfo)`."""

from fpi.solvers.anderson import Anderson
from fpi.solvers.base import Solver
from fpi.solvers.bicgstab import BiCGStab
from fpi.solvers.broyden import Broyden
from fpi.solvers.conjugate_residual import ConjugateResidual
from fpi.solvers.lbfgs import LBFGS
from fpi.solvers.normal_cg import ConjugateGradient
from fpi.solvers.picard import Picard
from fpi.solvers.step import Step

__all__ = [
    "LBFGS",
    "Anderson",
    "BiCGStab",
    "Broyden",
    "ConjugateGradient",
    "ConjugateResidual",
    "Picard",
    "Solver",
    "Step",
]
