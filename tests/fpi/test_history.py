"""Anderson and Broyden: the secant equations, maps on which Picard fails, singular systems, the safeguard."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from fpi.solvers.base import Rule
from tests.fpi.problems import DOUBLE, NEARLY, TIGHT, contraction

ACCELERATED = {"anderson": fpi.Anderson, "broyden": fpi.Broyden}
CRITERION = {"criterion": NEARLY, "max_iter": 200}


def run(rule: Rule, g, x: Tensor, steps: int) -> list[tuple[Tensor, Tensor]]:
    """The pairs (x_n, f_n) that the rule has seen."""
    seen = []
    for _ in range(steps):
        gx = g(x)
        seen.append((x, gx - x))
        (x,) = rule([x], [gx])
    return seen


def curved(x: Tensor) -> Tensor:
    return torch.tanh(x @ contraction(6, 0.9).T) + 0.1 * x.square() + 0.3


@pytest.mark.parametrize("memory", [2, 4, 20])
def test_broyden_satisfies_the_newest_secant_equation(memory: int) -> None:
    """H Δf = Δx for the newest pair, before and after the memory is full."""
    x = 0.1 * torch.randn(3, 6, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for steps in range(2, 9):
        rule = fpi.Broyden(memory=memory, growth=1e9)._begin([x])
        (x0, f0), (x1, f1) = run(rule, curved, x, steps)[-2:]
        df = (f1 - f0)[:, None]
        inverse_df = (rule._sum(rule.u, rule.v, df) - df)[:, 0]
        torch.testing.assert_close(inverse_df, x1 - x0, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("memory", [1, 3])
@pytest.mark.parametrize("mixing", [1.0, 0.4])
def test_anderson_satisfies_the_secant_equations_of_its_window(memory: int, mixing: float) -> None:
    """H = −β I + (Δx + β Δf)(Δfᵀ Δf)⁻¹ Δfᵀ maps every Δf of the window to its Δx (Fang & Saad 2009, eq. 24)."""
    x = 0.1 * torch.randn(3, 6, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    rule = fpi.Anderson(memory=memory, mixing=mixing, ridge=0.0, growth=1e9)._begin([x])
    seen = run(rule, curved, x, 6)
    pairs = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(seen, seen[1:], strict=False)][-memory:]
    for dx, df in pairs:
        df, dx = df[:, None], dx[:, None]
        rule.along = df @ rule.df.mT
        proposal, _ = rule.propose(mixing * df, df)  # x − H f at x = 0, where the plain step is β f
        torch.testing.assert_close(proposal, -dx, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ACCELERATED.values(), ids=ACCELERATED)
def test_a_sample_accelerates_again_right_after_it_forgot(kind: type[fpi.Solver]) -> None:
    """In d dimensions d secant equations determine a linear map: two iterations more reach its fixed point."""
    a = 0.9 * torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))).Q
    b = torch.ones(3, 3, dtype=DOUBLE)
    solution = torch.linalg.solve(torch.eye(3, dtype=DOUBLE) - a, b.T).T
    rule, x = kind(memory=6, growth=1e9)._begin([b]), b  # type: ignore[call-arg]
    for n in range(9):
        x = rule([x], [x @ a.T + b])[0]
        if n == 2:
            rule.forget(torch.tensor([False, True, False]))
        if n == 4:
            done = (x - solution).norm(dim=1) < 1e-6
            assert done.tolist() == [kind is fpi.Anderson, False, kind is fpi.Anderson]
    if kind is fpi.Anderson:  # Broyden takes up to 2d
        torch.testing.assert_close(x, solution, rtol=1e-6, atol=1e-6)
    assert bool(torch.isfinite(x).all())


@pytest.mark.parametrize("kind", ACCELERATED.values(), ids=ACCELERATED)
@pytest.mark.parametrize("gain", [1.0, 1.5, 3.0])
def test_rotation_on_which_picard_diverges(kind: type[fpi.Solver], gain: float) -> None:
    """J is a rotation by 90° times the gain: its eigenvalues ± i · gain have no real part, I − J is regular."""
    rotation = gain * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=DOUBLE)
    b = torch.tensor([[1.0, 1.0], [-2.0, 0.5]], dtype=DOUBLE, requires_grad=True)

    def solve(solver: fpi.Solver) -> tuple[Tensor, fpi.SolveInfo]:
        return fpi.fixed_point(
            lambda x, b: x @ rotation.T + b,
            torch.zeros(2, 2, dtype=DOUBLE),
            b,
            solver=solver,
            adjoint=fpi.BackwardFPI(kind(**CRITERION, growth=1e3)),
            return_info=True,
        )

    x, info = solve(kind(**CRITERION, growth=1e3))
    inverse = torch.linalg.inv(torch.eye(2, dtype=DOUBLE) - rotation)
    torch.testing.assert_close(x, b @ inverse.T)
    torch.testing.assert_close(torch.autograd.grad(x, b, torch.ones_like(x))[0], torch.ones_like(x) @ inverse)
    assert info.evaluations < 20
    plain = fpi.Picard(criterion=NEARLY, max_iter=50, on_failure="ignore")
    assert not solve(plain)[1].converged.any()


@pytest.mark.parametrize("kind", ACCELERATED.values(), ids=ACCELERATED)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
class TestSingular:
    """Histories with linearly dependent differences must neither throw nor give what is not finite."""

    def test_constant_map(self, kind: type[fpi.Solver], dtype: torch.dtype) -> None:
        for criterion in (fpi.Relative(0.0), fpi.Relative(0.0, scope="batch")):  # goes on after convergence
            solver = kind(criterion=criterion, max_iter=12, check_every=5, on_failure="ignore")
            x = fpi.fixed_point(
                lambda x, b: b, torch.zeros(2, 3, dtype=dtype), torch.ones(2, 3, dtype=dtype), solver=solver
            )
            assert x.eq(1).all()

    def test_identity(self, kind: type[fpi.Solver], dtype: torch.dtype) -> None:
        x0 = torch.randn(2, 3, dtype=dtype)
        assert torch.equal(fpi.fixed_point(lambda x: x, x0, solver=kind()), x0)

    def test_zero_state(self, kind: type[fpi.Solver], dtype: torch.dtype) -> None:
        solver = kind(check_every=4, max_iter=12)
        assert fpi.fixed_point(lambda x: 0.5 * x, torch.zeros(2, 3, dtype=dtype), solver=solver).eq(0).all()
        assert fpi.fixed_point(lambda x: 0.5 * x, torch.zeros(2, 0, dtype=dtype), solver=solver).shape == (2, 0)

    def test_repeated_differences(self, kind: type[fpi.Solver], dtype: torch.dtype) -> None:
        """A translation: every difference of states is the same and every difference of residuals is zero."""
        solver = kind(criterion=fpi.Absolute(1e-9), max_iter=30, on_failure="ignore")
        x = fpi.fixed_point(lambda x: x + 1, torch.zeros(2, 3, dtype=dtype), solver=solver)
        assert torch.isfinite(x).all()

    def test_more_memory_than_dimensions(self, kind: type[fpi.Solver], dtype: torch.dtype) -> None:
        solver = kind(memory=10, max_iter=100)
        x, info = fpi.fixed_point(torch.cos, torch.zeros(2, 1, dtype=dtype), solver=solver, return_info=True)
        assert info.converged.all()
        torch.testing.assert_close(x, torch.full_like(x, 0.7390851332151607))


@pytest.mark.parametrize("kind", ACCELERATED.values(), ids=ACCELERATED)
def test_a_sample_that_is_led_astray_restarts_without_the_others(kind: type[fpi.Solver]) -> None:
    """The safeguard: a plain step when the residual has grown beyond ``growth`` times its best."""
    x = torch.zeros(2, 3, dtype=DOUBLE)
    rule = kind(growth=2.0)._begin([x])
    for n in range(3):
        rule([x + 0.3**n], [x + 0.3**n + 0.5**n + 0.1 * torch.arange(3)])
    f = torch.tensor([[100.0] * 3, [0.01] * 3], dtype=DOUBLE)
    (proposal,) = rule([x], [f])
    torch.testing.assert_close(proposal[0], f[0])  # the plain step x + f
    assert not torch.allclose(proposal[1], f[1])
    histories = [getattr(rule, name) for name in rule.windows() if name != "gram"]  # that one must stay regular
    assert all(window[0].eq(0).all() for window in histories) and any(window[1].ne(0).any() for window in histories)


@pytest.mark.parametrize("kind", ACCELERATED.values(), ids=ACCELERATED)
def test_accelerated_gradients_where_the_map_expands(kind: type[fpi.Solver]) -> None:
    """g'(x̂) = −3: Picard diverges forward and backward, the accelerated methods are exact in both directions."""
    w = torch.tensor(-3.0, dtype=DOUBLE, requires_grad=True)
    x0 = torch.zeros(1, 1, dtype=DOUBLE)
    solver = kind(**CRITERION, growth=1e3)
    x = fpi.fixed_point(lambda x, w: w * x + 4, x0, w, solver=solver, adjoint=fpi.BackwardFPI(solver))
    torch.testing.assert_close(x, torch.ones_like(x))
    torch.testing.assert_close(torch.autograd.grad(x.sum(), w)[0], torch.tensor(4 / 16, dtype=DOUBLE))
    with pytest.raises(fpi.FixedPointError):
        fpi.fixed_point(lambda x, w: w * x + 4, x0, w, solver=fpi.Picard(criterion=TIGHT, max_iter=2000))
