"""The classifier: fixed points, gradients against dense linear algebra, counters, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fpi
from tasks.classification.module import squared_error
from tasks.classification.network import Classifier, NotAContractionError
from tasks.classification.probe import cosines

SHAPE = (1, 16, 16)
TIGHT = fpi.Picard(criterion=fpi.Absolute(1e-26), max_iter=5000, on_failure="raise")


def make(name: str = "conv", adjoint: fpi.Adjoint | None = None, **options: object) -> Classifier:
    torch.manual_seed(0)
    settings: dict = {"solver": TIGHT, "bound": 1.0, "image_shape": SHAPE} | options
    return Classifier(name, adjoint=adjoint or fpi.JacobianFree(), **settings).double().eval()


def batch(count: int = 6, shape: tuple[int, int, int] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    return images, torch.arange(count) % 10


def gradient(network: Classifier) -> Tensor:
    images, labels = batch()
    found = torch.autograd.grad(squared_error(network(images), labels), list(network.parameters()))
    return torch.cat([part.flatten() for part in found])


def test_the_latents_are_a_fixed_point_and_the_head_reads_them() -> None:
    network, (images, _) = make("conv"), batch()
    u, v = network.latents(images), network.features(images)
    torch.testing.assert_close(F.relu(network.layer.g.path(0.99 * u + v)), u, rtol=0, atol=1e-9)
    torch.testing.assert_close(network(images), network.head(u))


def test_explicit_is_one_application() -> None:
    once = fpi.Picard(max_iter=1, criterion=fpi.Absolute(0.0), on_failure="ignore")
    network, (images, _) = make("conv", fpi.Unrolled(), solver=once), batch()
    u = F.relu(network.layer.g.path(network.features(images)))
    torch.testing.assert_close(network(images), network.head(u))
    assert not network.implicit and network.solver_metrics() == {}
    assert gradient(network).abs().sum() > 0


@pytest.mark.parametrize("name", ["fc", "conv", "mon_fc"])
def test_the_exact_gradients_are_those_of_dense_linear_algebra(name: str) -> None:
    """∇L = (∂R/∂θ)ᵀ (I − ∂R/∂u)⁻ᵀ ∇_u L with the Jacobian written out: what the released CG driver misses."""
    nearly = fpi.Relative(1e-24)
    solver = fpi.Anderson(criterion=fpi.Relative(1e-26), max_iter=5000) if name == "mon_fc" else TIGHT
    solvers = [fpi.ConjugateGradient(criterion=nearly, compact=False), fpi.Picard(criterion=nearly, max_iter=5000)]
    exact = [fpi.NormalCG(criterion=nearly), *(fpi.BackwardFPI(one) for one in solvers)]
    network, (images, labels) = make(name, solver=solver), batch()
    u, v = network.latents(images).detach(), network.features(images)
    g = network.layer.g
    source = g.inject(v)  # type: ignore[operator]

    def one(u: Tensor, i: int) -> Tensor:
        mine = (source[0][i : i + 1], source[1]) if name == "mon_fc" else source[i : i + 1]
        return g(u[None], mine)[0]

    found = u.clone().requires_grad_()
    (dl_du,) = torch.autograd.grad(squared_error(network.head(found), labels), found)
    cotangents = []
    for i in range(len(u)):
        jacobian = torch.autograd.functional.jacobian(lambda x, i=i: one(x, i), u[i])
        cotangents.append(torch.linalg.solve((torch.eye(len(u[i])).double() - jacobian).t(), dl_du[i]))
    through = (g(u, source) * torch.stack(cotangents)).sum() + squared_error(network.head(u), labels)
    parameters = list(network.parameters())
    expected = torch.cat([part.flatten() for part in torch.autograd.grad(through, parameters)])
    for adjoint in exact:
        with network.differentiated_by(adjoint):
            mine = gradient(network)
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-10)
    free = gradient(network)
    assert 0.5 < float(F.cosine_similarity(free, expected, dim=0)) < 0.9999


def test_cosines_agree_with_a_batch_gradient() -> None:
    network, (images, labels) = make("conv"), batch()
    measured = cosines(network.train(), images, labels, squared_error)
    assert network.training
    network.eval()
    free = gradient(network)
    with network.differentiated_by(fpi.Dense()):
        exact = gradient(network)
    assert measured["cosine"] == pytest.approx(float(F.cosine_similarity(free, exact, dim=0)), abs=1e-8)
    assert 0 < measured["cosine_min"] <= measured["cosine"] + 0.05 and 0 < measured["norm"] <= 0.99


@pytest.mark.parametrize("scale", [1e-25, 0.0])
def test_cosines_do_not_depend_on_the_size_of_the_gradient(scale: float) -> None:
    """Saturated outputs have gradients that small; where there is none, both directions agree."""
    solver = fpi.Picard(criterion=fpi.Absolute(1e-10), max_iter=500, on_failure="raise")  # float32 has no more
    network, (images, labels) = make("conv", solver=solver).float(), batch()
    measured = cosines(network, images.float(), labels, squared_error)
    small = cosines(network, images.float(), labels, lambda outputs, given: scale * squared_error(outputs, given))
    for name in ("cosine", "cosine_min"):
        assert small[name] == pytest.approx(measured[name] if scale else 1, abs=1e-3)


def test_costs_are_counted_by_sample() -> None:
    adjoint = fpi.NormalCG(criterion=fpi.Relative(1e-8))
    network, (images, labels) = make("conv", adjoint), batch()
    squared_error(network(images), labels).backward()
    forward = network.g_evaluations
    network.count_products()
    info = network.layer.info
    assert info is not None and info.backward is not None and forward == info.evaluations
    assert network.g_evaluations == forward + info.backward.evaluations
    assert network.jacobian_products == info.backward.sample_evaluations >= 2 * int(info.backward.iterations.sum())
    assert network.solver_metrics()["backward_converged"] == 1
    with network.differentiated_by(fpi.JacobianFree()):
        squared_error(network(images), labels).backward()
        network.count_products()
    assert network.jacobian_products == info.backward.sample_evaluations


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_a_wrong_number_of_channels_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"takes images of shape \(1, 16, 16\) .* got \(3, 16, 16\)"):
        make(name)(batch(2, (3, 16, 16))[0])


@pytest.mark.parametrize(("name", "iterations", "norm"), [("fc", 50, "2.7"), ("cifar10", 100_000, "2.97")])
def test_an_operator_that_is_no_contraction_is_named_with_its_norm(name: str, iterations: int, norm: str) -> None:
    """At its cap of iterations (fc), and when values overflow (cifar10): W = 3 I, times 0.9 and 0.99."""
    shape = (3, 32, 32) if name == "cifar10" else SHAPE
    solver = fpi.Picard(criterion=fpi.Absolute(1e-8), max_iter=iterations, on_failure="ignore")
    network = make(name, solver=solver, bound=None, image_shape=shape)
    weight = network.layer.g.path.weight
    with torch.no_grad():
        weight.copy_(3 * torch.eye(len(weight)))  # type: ignore[arg-type, operator]
    with pytest.raises(NotAContractionError, match=rf"not a contraction: .* measured to be {norm} .*task\.bound"):
        network(batch(3, shape)[0])


def test_a_contraction_that_is_only_slow_is_not_refused() -> None:
    slow = fpi.Picard(criterion=fpi.Absolute(1e-30), max_iter=2, on_failure="ignore")
    network = make("conv", solver=slow)
    assert network(batch()[0]).isfinite().all() and network.solver_metrics()["forward_converged"] == 0


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match="must be one of fc, conv, mon_fc, .*, cifar10, cifar10_aug, got 'resnet'"):
        make("resnet")


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_is_not_positive_is_named(bound: float) -> None:
    with pytest.raises(ValueError, match=r"task\.bound must be above 0 .* or null"):
        make("mon_fc", bound=bound)
