"""fpi.invert: the inverse of a decoder, its derivative, and what the solvers cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fpi


def mlp(inputs: int = 6, outputs: int = 24, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, 48), nn.Tanh(), nn.Linear(48, outputs)).double()
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)  # type: ignore[union-attr, operator]
    return net


def problem(net: nn.Module, batch: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    truth = torch.randn(batch, 6, dtype=torch.double)
    with torch.no_grad():
        y = net(truth)
    return truth, y, truth + 0.5 * torch.randn_like(truth)


def test_what_was_decoded_is_found_again() -> None:
    net = mlp()
    truth, y, x0 = problem(net)
    x, info = fpi.invert(net, y, x0, return_info=True)
    assert info.converged.all()
    torch.testing.assert_close(x, truth, atol=1e-8, rtol=0)


def test_the_nearest_output_to_one_that_cannot_be_reached() -> None:
    weight = torch.randn(7, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    y = torch.randn(4, 7, dtype=torch.double)
    x = fpi.invert(lambda x: x @ weight.T, y, torch.zeros(4, 3, dtype=torch.double))
    torch.testing.assert_close(x, torch.linalg.lstsq(weight, y.T).solution.T)


def test_lbfgs_needs_thirty_evaluations_where_descent_needs_hundreds() -> None:
    net = mlp()
    _, y, x0 = problem(net, batch=16)

    def error(kind: type[fpi.Solver], steps: int, step_size: float) -> float:
        solver = kind(criterion=fpi.Absolute(0.0), max_iter=steps, on_failure="ignore")
        with torch.no_grad():
            x = fpi.invert(net, y, x0, solver=solver, step_size=step_size)
            return float((net(x) - y).square().mean().nan_to_num(torch.inf))

    def descent(steps: int) -> float:
        return min(error(fpi.Picard, steps, step_size) for step_size in (1.0, 2.0, 4.0, 8.0, 16.0))

    quick = error(fpi.LBFGS, 30, 1.0)
    assert quick < 1e-2 * descent(30) and quick < descent(300)


def test_derivatives_in_y_and_in_the_parameters() -> None:
    net = mlp()
    _, y, x0 = problem(net, batch=2)
    y = (y + 0.05 * torch.randn_like(y)).requires_grad_()
    bias = net[2].bias
    assert isinstance(bias, Tensor)

    def inverse(y: Tensor) -> Tensor:
        return fpi.invert(net, y, x0, solver=fpi.LBFGS(criterion=fpi.Relative(1e-18)))

    assert torch.autograd.gradcheck(inverse, (y,), eps=1e-5, atol=1e-5)
    # D(x) + b shifts with b as y does the other way
    weights = torch.randn(2, 6, dtype=torch.double)
    of_y, of_bias = torch.autograd.grad((inverse(y) * weights).sum(), (y, bias))
    torch.testing.assert_close(of_bias, -of_y.sum(0))


def test_images_and_any_shape_of_latent() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.ConvTranspose2d(2, 8, 4, stride=2, padding=1), nn.Softplus(), nn.Conv2d(8, 3, 3, padding=1))
    truth = torch.randn(3, 2, 4, 4)
    with torch.no_grad():
        y = net(truth)
        x = fpi.invert(net, y, torch.zeros_like(truth), solver=fpi.LBFGS(max_iter=300, on_failure="ignore"))
        assert (net(x) - y).square().mean() < 1e-3 * (net(torch.zeros_like(truth)) - y).square().mean()


def test_a_function_that_hides_parameters_is_refused() -> None:
    net = mlp()
    _, y, x0 = problem(net)
    with pytest.raises(TypeError, match="nn.Module"):
        fpi.invert(lambda x: net(x), y, x0)


@pytest.mark.parametrize("shape", [(5, 23), (4, 24), (5, 24, 1)])
def test_shapes_that_do_not_fit_are_named(shape: tuple[int, ...]) -> None:
    net = mlp()
    _, _, x0 = problem(net)
    with pytest.raises(ValueError, match=r"y must be \(5, 24\)"):
        fpi.invert(net, torch.zeros(shape, dtype=torch.double), x0)
