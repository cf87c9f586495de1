"""Targets against references that share nothing with their formulas: optimality conditions and other algorithms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tasks.toy.problems import PROBLEMS, make_problem


@pytest.fixture
def a() -> Tensor:
    return 2 * torch.randn(200, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def bisected_simplex_projection(a: Tensor) -> Tensor:
    """max(a + λ, 0) with the λ, found by bisection, that makes its entries sum to 1."""
    low, high = -a.max(1, keepdim=True).values - 1, 1 - a.min(1, keepdim=True).values
    for _ in range(100):
        middle = (low + high) / 2
        too_large = (a + middle).clamp_min(0).sum(1, keepdim=True) > 1
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    return (a + low).clamp_min(0)


def test_simplex_equals_projection_by_bisection(a: Tensor) -> None:
    t = make_problem("simplex", 10)(a)
    torch.testing.assert_close(t, bisected_simplex_projection(a), rtol=0, atol=1e-12)
    torch.testing.assert_close(t.sum(1), torch.ones(200, dtype=a.dtype))


@pytest.mark.parametrize("name", ["box", "simplex"])
def test_projections_are_nearest_feasible_points(name: str, a: Tensor) -> None:
    """The variational inequality that characterises a projection: (a − t)ᵀ(y − t) ≤ 0 for every feasible y."""
    t = make_problem(name, 10)(a)
    generator = torch.Generator().manual_seed(4)
    for _ in range(50):
        y = torch.rand(200, 10, generator=generator, dtype=a.dtype)
        y = 2 * y - 1 if name == "box" else -y.log() / -y.log().sum(1, keepdim=True)
        assert ((a - t) * (y - t)).sum(1).max() <= 1e-12


def test_a_feasible_point_is_its_own_projection() -> None:
    inside = torch.full((1, 10), 0.1, dtype=torch.float64)
    vertex = torch.eye(10, dtype=torch.float64)[:1]
    simplex = make_problem("simplex", 10)
    for point in (inside, vertex):
        torch.testing.assert_close(simplex(point), point)
    torch.testing.assert_close(make_problem("box", 10)(inside), inside)


def test_linear_equation_is_solved_and_well_conditioned(a: Tensor) -> None:
    problem = make_problem("linear", 10)
    torch.testing.assert_close(problem(a) @ problem.w.t(), a)
    assert torch.linalg.cond(problem.w).item() == pytest.approx(4)


def test_translation_is_one_constant(a: Tensor) -> None:
    shift = make_problem("translation", 10)(a) - a
    torch.testing.assert_close(shift, shift[:1].expand_as(shift))
    assert shift.norm() > 1


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_the_same_every_time(name: str, a: Tensor) -> None:
    first = make_problem(name, 10)(a)
    torch.manual_seed(99)
    assert torch.equal(make_problem(name, 10)(a), first)
    assert make_problem(name, 10)(a.float()).dtype == torch.float32


def test_unknown_problem_is_named() -> None:
    with pytest.raises(ValueError, match=r"data.problem='ball'.*translation, linear, box, simplex"):
        make_problem("ball", 10)
