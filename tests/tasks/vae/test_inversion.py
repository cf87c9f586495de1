"""tasks.vae.inversion: what is minimised, its derivative, and the readings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fpi
from tasks.vae.inversion import FoldedEnergy, Inversion, ReconstructionEnergy
from tasks.vae.networks import VAE, Decoder
from tests.tasks.vae.test_networks import trained


def images(vae: VAE, batch: int = 4) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return vae.decoder.eval()(torch.randn(batch, 5)) + 0.05 * torch.randn(batch, 3, vae.size, vae.size)


def inversion(**options: Any) -> Inversion:
    solver = fpi.Picard(max_iter=30, criterion=fpi.Absolute(1e-4), on_failure="ignore")
    return Inversion(**{"solver": solver, "adjoint": fpi.BackwardFPI(solver), **options})


def error(vae: VAE, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((vae.decoder.eval()(x) - y).square().mean())


def test_the_energy_is_the_reconstruction_error_of_each_image() -> None:
    vae = trained()
    y, x = images(vae), torch.randn(4, 5)
    source = inversion().source(vae.decoder, y)
    expected = (vae.decoder.eval()(x) - y).square().flatten(1)
    torch.testing.assert_close(ReconstructionEnergy("mean")(x, source), expected.mean(1))
    torch.testing.assert_close(ReconstructionEnergy("sum")(x, source), expected.sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_that_is_written_out_is_autograds(reduction: Any) -> None:
    vae = trained().double()
    y = images_double(vae)
    x = torch.randn(2, 5, dtype=torch.double, requires_grad=True)
    source = inversion().source(vae.decoder, y)
    plain, folded = ReconstructionEnergy(reduction), FoldedEnergy(reduction)
    value = plain(x, source)
    (expected,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    found_value, found = folded.value_and_gradient(x, source)
    torch.testing.assert_close(found_value, value)
    torch.testing.assert_close(found, expected)
    along = torch.randn_like(x)
    for of in (x, vae.decoder.input.weight, vae.decoder.output.weight):
        first, second = (torch.autograd.grad(g, of, along, retain_graph=True)[0] for g in (expected, found))
        torch.testing.assert_close(second, first)


def test_the_settings_as_printed_stop_at_the_first_step() -> None:
    vae = trained()
    y = images(vae)
    x0, _ = vae.encoder.eval()(y)
    layer = inversion()
    x = layer(vae.decoder, y, x0)
    assert layer.info is not None and layer.info.iterations.tolist() == [1] * 4 and layer.info.converged.all()
    assert float((x - x0).detach().norm(dim=1).max()) < 1e-2
    workable = inversion(step_size=10.0)
    assert error(vae, workable(vae.decoder, y, x0), y) < 0.95 * error(vae, x0, y)


def test_one_step_is_that_of_equation_6_5() -> None:
    vae = trained()
    y, x0 = images(vae), torch.randn(4, 5)
    once = fpi.Picard(max_iter=1, criterion=fpi.Absolute(0.0), on_failure="ignore")
    x = inversion(solver=once, step_size=0.3)(vae.decoder, y, x0)
    start = x0.clone().requires_grad_()
    energy = (vae.decoder.eval()(start) - y).square().mean((1, 2, 3)).sum()
    (gradient,) = torch.autograd.grad(energy, start)
    torch.testing.assert_close(x, x0 - 0.3 * gradient, atol=1e-6, rtol=1e-5)


def test_the_decoder_gets_the_gradient_of_the_inverse() -> None:
    """Against the difference quotient of an inversion solved to the end, in float64."""
    vae = trained(8).double()
    y = images_double(vae)
    with torch.no_grad():
        x0, _ = vae.encoder.eval()(y)
    lbfgs = fpi.LBFGS(criterion=fpi.Absolute(1e-26), max_iter=2000, on_failure="ignore")
    layer = inversion(solver=lbfgs, adjoint=fpi.NormalCG(), step_size=1.0)
    bias = vae.decoder.input.bias
    weights = torch.randn(2, 5, dtype=torch.double)

    def value() -> Tensor:
        return (layer(vae.decoder, y, x0) * weights).sum()

    (gradient,) = torch.autograd.grad(value(), bias)
    direction, eps = torch.randn_like(bias), 1e-5
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            bias += sign * eps * direction
            ends.append(float(value()))
            bias -= sign * eps * direction
    assert float(gradient @ direction) == pytest.approx((ends[0] - ends[1]) / (2 * eps), rel=1e-3)


def images_double(vae: VAE) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return vae.decoder.eval()(torch.randn(2, 5).double()) + 0.02 * torch.randn(2, 3, vae.size, vae.size).double()


def test_batches_as_large_as_a_layer_is_wide_are_solved_sample_by_sample() -> None:
    """The weights' first dimension (8 channels) must not be taken for the batch when samples leave it."""
    vae = trained()
    truth = torch.randn(8, 5)
    with torch.no_grad():
        y = vae.decoder.eval()(truth)
    x0 = truth + torch.tensor([1e-4] * 5 + [1.0] * 3)[:, None] * torch.randn(8, 5)
    solver = fpi.Picard(max_iter=40, criterion=fpi.Absolute(1e-6), on_failure="ignore")
    together = inversion(solver=solver, step_size=3.0)
    x = together(vae.decoder, y, x0)
    assert together.info is not None
    assert together.info.sample_evaluations < 8 * together.info.evaluations  # some left early
    for i in range(8):
        alone = inversion(solver=solver, step_size=3.0)(vae.decoder, y[i : i + 1], x0[i : i + 1])
        torch.testing.assert_close(x[i : i + 1], alone, atol=1e-4, rtol=1e-3)


def test_statistics_of_the_batch_are_an_option() -> None:
    vae = trained()
    y = images(vae, 16)
    x0, _ = vae.encoder.eval()(y)
    solver = fpi.Picard(max_iter=20, criterion=fpi.Absolute(1e-9, scope="batch"), on_failure="ignore", compact=False)
    layer = inversion(solver=solver, adjoint=fpi.BackwardFPI(solver), step_size=3.0, batch_norm="batch")
    x = layer(vae.decoder, y, x0)

    def misfit(x: Tensor) -> float:
        with torch.no_grad():
            return float(ReconstructionEnergy("mean")(x, layer.source(vae.decoder, y)).mean())

    assert misfit(x) < misfit(x0)
    x.sum().backward()
    assert all(parameter.grad is not None for parameter in vae.decoder.parameters())


def test_whether_the_start_passes_a_gradient_is_an_option() -> None:
    vae = trained()
    y = images(vae)
    for detach in (True, False):
        x0, _ = vae.encoder.eval()(y)
        x = inversion(detach_x0=detach)(vae.decoder, y, x0)
        (gradient,) = torch.autograd.grad(x.sum(), vae.encoder.mean.bias, allow_unused=True)
        assert gradient is None if detach else torch.equal(gradient, torch.full((5,), 4.0))


def test_a_separate_small_network_changes_nothing_and_no_random_number() -> None:
    vae = trained()
    y = images(vae)
    x0, _ = vae.encoder.eval()(y)
    layer = inversion(weight_scale=1e-3)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    layer.build(vae.hidden, vae.latent, vae.size)
    assert torch.equal(torch.rand(1), expected)
    assert isinstance(layer.separate, Decoder)
    assert float(layer.separate.input.weight.detach().abs().max()) < 1e-3
    assert torch.equal(layer(vae.decoder, y, x0), x0)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"reduction": "max"}, "reduction"),
        ({"batch_norm": "none"}, "batch_norm"),
        ({"step_size": 0.0}, "step_size"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        inversion(**options)
