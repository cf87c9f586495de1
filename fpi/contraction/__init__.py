"""Is g a contraction, and how to keep it one (thesis 4.4).

Theorem 2 of the thesis: ‖∂g/∂x‖ ≤ k < 1 makes g a contraction, so that the forward and the backward layer converge.

* How far is it: `spectral_radius` and `jacobian_norm` (at a point), `lipschitz_bound` (certified,
  everywhere), `operator_norm` (one layer).
* Always: `spectral_budget_` (a parametrisation: at every parameter value).
* After each optimiser step: `limit_lipschitz_` (a projection).
* In the loss: `jacobian_penalty`.
* At the start: `scale_parameters_` (small initial weights).

`fpi/CONTRACTION.md` says when each is worth its price.
"""

from fpi.contraction.budget import SpectralBudget, hold, spectral_budget_
from fpi.contraction.measures import jacobian_norm, spectral_radius
from fpi.contraction.norms import conv_norm, gram_norm, operator_norm
from fpi.contraction.path import limit_lipschitz_, lipschitz_bound, scale_parameters_
from fpi.contraction.regularisation import jacobian_penalty

__all__ = [
    "SpectralBudget",
    "conv_norm",
    "gram_norm",
    "hold",
    "jacobian_norm",
    "jacobian_penalty",
    "limit_lipschitz_",
    "lipschitz_bound",
    "operator_norm",
    "scale_parameters_",
    "spectral_budget_",
    "spectral_radius",
]
