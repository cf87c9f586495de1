"""The rows' networks: sizes, gradients, memory, diagnostics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_nl_means

import fpi
from tasks.denoising import models
from tasks.denoising.models import FeedForward, FPIDenoiser, NonLocalMeans
from tests.memory import peak_bytes


def layer(max_iter: int = 100, tol: float = 1e-14, damping: float = 0.5, **options: object) -> FPIDenoiser:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(tol), max_iter=max_iter, damping=damping, on_failure="ignore")
    settings: dict = {"channels": 8, "kernel_size": 3, "init_scale": 1.0, "adjoint": fpi.BackwardFPI(solver)} | options
    return FPIDenoiser(solver=solver, **settings)


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_the_thesis_and_the_controls() -> None:
    assert count(FeedForward(32, 3, 0.1)) == 609
    assert count(layer(channels=32)) == 897
    assert count(FeedForward(47, 3, 0.1)) == 894


def test_initial_weights_are_scaled() -> None:
    torch.manual_seed(0)
    plain = FeedForward(4, 3, 1.0)
    torch.manual_seed(0)
    small = FeedForward(4, 3, 0.1)
    for a, b in zip(plain.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(0.1 * a, b)


def test_the_output_is_a_fixed_point_of_the_concatenated_network() -> None:
    network = layer()
    z = torch.rand(2, 1, 12, 10)
    x = network(z)
    g = torch.nn.functional.conv2d
    first, _, last = network.layer.g.net  # type: ignore[misc]
    hidden = g(torch.cat([x, z], 1), first.weight, first.bias, padding=1).relu()
    torch.testing.assert_close(g(hidden, last.weight, last.bias, padding=1), x, atol=1e-5, rtol=0)


def test_the_gradient_is_that_of_a_long_unrolled_iteration() -> None:
    z, v = torch.rand(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    gradients = []
    for adjoint in (None, fpi.Unrolled()):
        network = layer(200) if adjoint is None else layer(200, tol=0.0, adjoint=adjoint)
        (network(z) * v).sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_how_many_images_are_solved_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.rand(5, 1, 8, 8)
    results = []
    for pixels in (64, 128, 10_000):
        monkeypatch.setattr(models, "CPU_PIXELS", pixels)
        network = layer()
        x = network(z)
        x.square().sum().backward()
        metrics = network.solver_metrics()
        results.append((x.detach(), [parameter.grad for parameter in network.parameters()]))
        assert len(network.infos) == -(-5 * 64 // pixels)
        assert metrics["forward_converged"] == metrics["backward_converged"] == 1
    for x, gradients in results[1:]:
        torch.testing.assert_close(x, results[0][0], atol=1e-6, rtol=0)
        torch.testing.assert_close(gradients, results[0][1], atol=1e-4, rtol=1e-4)


def test_memory_of_a_training_step_does_not_depend_on_the_iterations() -> None:
    def peak(iterations: int) -> int:
        network = layer(iterations, tol=0.0)
        z = torch.rand(2, 1, 32, 32)
        return peak_bytes(lambda: network(z).square().mean().backward())

    peak(2)
    assert peak(60) <= 1.02 * peak(3)


def test_evaluations_are_counted_forward_and_backward() -> None:
    network = layer(7, tol=0.0)
    network(torch.rand(2, 1, 8, 8)).sum().backward()
    assert network.solver_metrics()["backward_iterations"] == 7
    assert network.g_evaluations == 14


def test_the_budget_is_kept_from_the_start() -> None:
    network = layer(lipschitz=0.5, init_scale=5.0)
    z = torch.rand(1, 1, 8, 8)
    x = network(z).detach()
    injected = network.layer.g.inject(z)  # type: ignore[operator]
    assert float(fpi.contraction.spectral_radius(network.layer.g, x, injected)) <= 0.5
    first = network.layer.g.net[0]  # type: ignore[index]
    before = first.weight.detach().clone()
    with torch.no_grad():
        first.weight *= 3
    network.after_step()
    assert fpi.contraction.lipschitz_bound(network.layer) == pytest.approx(0.5, rel=1e-5)
    torch.testing.assert_close(first.weight[:, 1:], 3 * before[:, 1:])  # z's part keeps its freedom
    with pytest.raises(ValueError, match="lipschitz"):
        layer(lipschitz=0.0)


def test_non_local_means_tries_a_factor_an_epoch_and_keeps_it_in_the_checkpoint() -> None:
    network = NonLocalMeans(25, [0.4, 0.9])
    z = torch.rand(2, 1, 16, 16)
    network.begin_epoch(1, 3)
    expected = denoise_nl_means(
        z[0, 0].numpy(), h=0.9 * 25 / 255, sigma=25 / 255, patch_size=5, patch_distance=6, fast_mode=True
    )
    np.testing.assert_allclose(network(z)[0, 0].numpy(), expected, atol=1e-6)
    network.begin_epoch(7, 8)
    other = NonLocalMeans(25, [0.4, 0.9])
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(z), network(z))
