"""What the linear solvers of the backward pass are tried on, beside dense algebra."""

from __future__ import annotations

import torch
from torch import Tensor

import fpi
from tests.fpi.problems import DOUBLE, NEARLY


def backward(a: Tensor, v: Tensor, adjoint: fpi.Adjoint) -> tuple[Tensor, fpi.SolveInfo]:
    """c = (I − A)⁻ᵀ v through a layer x = A x + b that starts at its solution."""
    b = torch.randn(*v.shape, dtype=a.dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x0 = torch.linalg.solve(torch.eye(len(a), dtype=a.dtype) - a, b.detach().T).T
    solver = fpi.Picard(criterion=fpi.Relative(1e-18))
    x, info = fpi.fixed_point(
        lambda x, a, b: x @ a.T + b, x0, a, b, solver=solver, adjoint=adjoint, per_sample=True, return_info=True
    )
    return torch.autograd.grad(x, b, v)[0], info.backward


def easy_samples_leave_and_the_hard_one_ends_exact(a: Tensor, adjoint: fpi.Adjoint) -> None:
    """x = s A x + b with s = 0.01 but for one sample of 16; A is 40 × 40."""
    b = torch.ones(16, 40, dtype=DOUBLE, requires_grad=True)
    scale = torch.full((16, 1), 0.01, dtype=DOUBLE)
    scale[5] = 1.0
    x, info = fpi.fixed_point(
        lambda x, s, a, b: s * (x @ a.T) + b,
        torch.zeros(16, 40, dtype=DOUBLE),
        scale,
        a,
        b,
        solver=fpi.Anderson(criterion=NEARLY),
        adjoint=adjoint,
        per_sample=True,
        return_info=True,
    )
    (c,) = torch.autograd.grad(x, b, torch.ones_like(x))
    for i in (0, 5):
        expected = torch.ones(40, dtype=DOUBLE) @ torch.linalg.inv(torch.eye(40, dtype=DOUBLE) - scale[i] * a)
        torch.testing.assert_close(c[i], expected, rtol=1e-9, atol=1e-9)
    assert info.backward.sample_evaluations < 8 * info.backward.evaluations
