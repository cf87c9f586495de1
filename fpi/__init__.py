"""fpi: fixed-point iterations as network layers, differentiable to any order.

Reference implementation of *Differentiable Forward and Backward Fixed-Point Iteration Layers* (Jeon, Lee, Choi).
"""

from fpi import contraction
from fpi.adjoints import Adjoint, BackwardFPI, Dense, JacobianFree, Neumann, NormalCG, Unrolled
from fpi.criteria import Absolute, Criterion, Relative
from fpi.fixed_point import fixed_point
from fpi.info import ConvergenceWarning, FixedPointError, SolveInfo
from fpi.invert import invert
from fpi.layers import FPI_GD, FPI_NN, FPILayer
from fpi.onednn import linear
from fpi.partial import inner, partial
from fpi.solvers import LBFGS, Anderson, BiCGStab, Broyden, ConjugateGradient, ConjugateResidual, Picard, Solver

__version__ = "0.1.0"

__all__ = [
    "FPI_GD",
    "FPI_NN",
    "LBFGS",
    "Absolute",
    "Adjoint",
    "Anderson",
    "BackwardFPI",
    "BiCGStab",
    "Broyden",
    "ConjugateGradient",
    "ConjugateResidual",
    "ConvergenceWarning",
    "Criterion",
    "Dense",
    "FPILayer",
    "FixedPointError",
    "JacobianFree",
    "Neumann",
    "NormalCG",
    "Picard",
    "Relative",
    "SolveInfo",
    "Solver",
    "Unrolled",
    "contraction",
    "fixed_point",
    "inner",
    "linear",
    "invert",
    "partial",
]
