"""The energy's closed form, the equivalence of its adjoints, and the networks of 5.1.2."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fpi
from tasks.toy.models import SquareEnergy, feedforward, fpi_gd, fpi_nn
from tests.memory import peak_bytes


def full_energy(energy: SquareEnergy, x: Tensor, a: Tensor) -> Tensor:
    """The thesis' network on the concatenation [x, a], summed over the batch."""
    act = torch.nn.functional.softplus if energy.smooth else torch.relu
    return (energy.second(act(energy.first(torch.cat([x, a], 1)))).square() * energy.weight_of_square).sum()


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_closed_form_gradient_equals_autograd(activation: str, reduction: str) -> None:
    torch.manual_seed(0)
    energy = SquareEnergy(10, 64, 48, activation, init_scale=0.7, reduction=reduction).double()  # type: ignore[arg-type]
    x = torch.randn(30, 10, dtype=torch.float64, requires_grad=True)
    a = torch.randn(30, 10, dtype=torch.float64)
    reference = full_energy(energy, x, a)
    torch.testing.assert_close(energy(x, energy.inject(a)).sum(), reference)
    (expected,) = torch.autograd.grad(reference, x, create_graph=True)
    found = energy.gradient(x, energy.inject(a))
    torch.testing.assert_close(found, expected)
    # and so are its own derivatives, which training needs
    parameters = list(energy.parameters())
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), [x, *parameters]),
        torch.autograd.grad(expected.square().sum(), [x, *parameters]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_init_scale_scales_weights_and_biases() -> None:
    torch.manual_seed(0)
    plain = SquareEnergy(10, 64, 64)
    torch.manual_seed(0)
    small = SquareEnergy(10, 64, 64, init_scale=0.1)
    for one, other in zip(plain.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(0.1 * one, other)


STEPS = 1000


def settled_problem() -> tuple[fpi.FPI_GD, Tensor]:
    """A random energy and inputs whose ReLU mask no longer changes in the second half of the descent.

    Elsewhere descent chatters on a kink of the energy and the unrolled derivative is one of the path, not of x̂.
    """
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=STEPS, on_failure="ignore")
    layer = fpi_gd(10, 64, 64, 50.0, solver, fpi.Unrolled()).double()
    a = torch.randn(200, 10, dtype=torch.float64)
    energy = layer.g.energy
    h, w, m, v = injected = energy.inject(a)
    x, settled, mask = torch.zeros_like(a), torch.ones(200, dtype=torch.bool), None
    with torch.no_grad():
        layer.g.step_size = 1 / torch.linalg.eigvalsh(w @ m @ w.t()).max().item()
        for n in range(STEPS):
            now = torch.addmm(h, x, w) > 0
            if mask is not None and n > STEPS // 2:
                settled &= (now == mask).all(1)
            mask, x = now, layer.g(x, injected)
    return layer, a[settled]


def test_dense_equals_unrolled_and_backward_fpi() -> None:
    layer, a = settled_problem()
    assert len(a) >= 5
    weights = torch.randn(len(a), 10, dtype=torch.float64)
    gradients = {}
    for adjoint in (
        fpi.Unrolled(),
        fpi.Dense(terms=STEPS),
        fpi.BackwardFPI(fpi.Picard(criterion=fpi.Relative(0.0), max_iter=STEPS, on_failure="ignore")),
    ):
        layer.adjoint = adjoint
        z = a.clone().requires_grad_()
        gradients[type(adjoint).__name__] = torch.autograd.grad((weights * layer(z)).sum(), [z, *layer.parameters()])
    for name in ("Dense", "BackwardFPI"):
        for found, unrolled in zip(gradients[name], gradients["Unrolled"], strict=True):
            assert (found - unrolled).norm() <= 1e-6 * unrolled.norm(), name


def test_training_memory_does_not_grow_with_gradient_steps() -> None:
    def peak(steps: int) -> int:
        solver = fpi.Picard(criterion=fpi.Relative(0.0), max_iter=steps, check_every=steps, on_failure="ignore")
        torch.manual_seed(0)
        layer = fpi_gd(10, 64, 64, 1e3, solver, fpi.Dense(terms=steps), init_scale=0.1)
        a = torch.randn(100, 10)
        layer(a).square().mean().backward()  # one-time allocations
        return peak_bytes(lambda: layer(a).square().mean().backward())

    assert 0 < peak(1000) <= 1.1 * peak(10)


def test_feedforward_is_g_of_fpi_nn_at_zero() -> None:
    torch.manual_seed(0)
    layer = fpi_nn(10, 32, fpi.Picard(max_iter=1, on_failure="ignore"), fpi.BackwardFPI()).double()
    plain = feedforward(10, 32).double()
    with torch.no_grad():
        net = layer.g.net
        plain[0].weight.copy_(net[0].weight[:, 10:])
        plain[0].bias.copy_(net[0].bias)
        plain[2].load_state_dict(net[2].state_dict())
    a = torch.randn(7, 10, dtype=torch.float64)
    torch.testing.assert_close(layer(a), plain(a))  # one iteration from 0


def test_unknown_options_are_named() -> None:
    with pytest.raises(ValueError, match="activation must be 'relu' or 'softplus', got 'tanh'"):
        SquareEnergy(10, 8, 8, "tanh")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum', got 'max'"):
        SquareEnergy(10, 8, 8, reduction="max")  # type: ignore[arg-type]
