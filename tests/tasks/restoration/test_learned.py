"""tasks.restoration.learned and models: the stage, its contraction, gradients through its fixed point."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import fpi
from tasks.restoration.learned import RelaxedStage
from tasks.restoration.models import FixedPoint, RelaxedPODM, TotalVariation
from tasks.restoration.operators import Problem
from tests.tasks.restoration.problems import make

STAGE: dict[str, Any] = {"channels": 4, "dilations": [1, 2, 1], "keep": 0.5, "lipschitz": 0.9}
KINDS = ["deblur", "denoise", "sr4"]


def layer(tolerance: float = 1e-24, max_iter: int = 400, **options: Any) -> FixedPoint:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(tolerance), max_iter=max_iter, on_failure="ignore")
    return FixedPoint(STAGE | options, solver, fpi.BackwardFPI(solver)).double()


def large_weights(network: FixedPoint) -> None:
    with torch.no_grad():
        for parameter in network.layer.g.net.parameters():  # type: ignore[union-attr]
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).to(parameter))


@pytest.mark.parametrize("kind", KINDS)
def test_the_stage_contracts_at_all_weights(kind: str) -> None:
    problem, truth = make(kind)
    network = layer()
    large_weights(network)
    stage: Any = network.layer.g
    with torch.no_grad():
        prepared = stage.inject(problem)
        a, b = truth, truth + torch.randn(truth.shape, generator=torch.Generator().manual_seed(2)).double()
        ratio = (stage(a, prepared) - stage(b, prepared)).flatten(1).norm(dim=1) / (a - b).flatten(1).norm(dim=1)
    assert float(ratio.max()) <= 0.9
    assert float(fpi.contraction.jacobian_norm(stage, truth, prepared, iterations=20).max()) <= 0.9 + 1e-9
    network(problem)
    assert network.layer.info is not None and bool(network.layer.info.converged.all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_unrolled_fixed_point(kind: str) -> None:
    problem, truth = make(kind)
    network = layer()
    loss = (network(problem) - truth).square().sum()
    implicit = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    stage: Any = network.layer.g
    prepared = stage.inject(problem)
    x = prepared.z.detach()
    for _ in range(120):
        x = stage(x, prepared)
    unrolled = torch.autograd.grad((x - truth).square().sum(), list(network.parameters()), allow_unused=True)
    for a, b in zip(implicit, unrolled, strict=True):
        assert a is not None and b is not None and torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_tied_stages_approach_the_fixed_point() -> None:
    problem, _ = make()
    network, relaxed = layer(), RelaxedPODM(60, STAGE, tied=True).double()
    relaxed.stages[0].load_state_dict(network.layer.g.state_dict())
    with torch.no_grad():
        assert torch.allclose(relaxed(problem), network(problem), atol=1e-8)
    assert len(list(RelaxedPODM(3, STAGE).parameters())) == 3 * len(list(network.parameters()))


def test_images_are_restored_alone_as_together() -> None:
    problem, _ = make(count=3)
    network = layer()
    with torch.no_grad():
        together = network(problem)
        for i in range(3):
            alone = network(Problem(problem.y[i : i + 1], problem.otf[i : i + 1]))
            assert torch.allclose(alone[0], together[i], atol=1e-9)


def test_an_operator_that_does_not_contract_says_so_with_its_norm(capsys: pytest.CaptureFixture[str]) -> None:
    problem, _ = make()
    network = layer(max_iter=5, keep=1.0, lipschitz=None)
    large_weights(network)
    with torch.no_grad():
        network(problem)
        network(problem)
    captured = capsys.readouterr()
    said = " ".join((captured.out + captured.err).split())
    assert said.count("the stage is not a contraction, the norm of its Jacobian was measured as") == 1
    assert "lipschitz below 1" in said


def test_a_slow_contraction_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    problem, _ = make()
    with torch.no_grad():
        layer(max_iter=2)(problem)
    captured = capsys.readouterr()
    assert "contracts (measured norm 0." in " ".join((captured.out + captured.err).split())


def test_rows_without_training_and_their_candidates() -> None:
    problem, truth = make()
    tv = TotalVariation([{"factor": 0.1}, {"factor": 0.5}], iterations=20, sigma=5.1)
    assert tv.training_loss(problem, truth) is None
    first = tv(problem)
    tv.begin_epoch(1)
    assert tv.chosen == {"factor": 0.5} and not torch.allclose(tv(problem), first)
    tv.begin_epoch(7)
    assert tv.chosen == {"factor": 0.5}
    with pytest.raises(ValueError, match="candidates"):
        TotalVariation([], 5, 1.0)
    better = (tv(problem) - truth).square().mean() < (problem.y - truth).square().mean()
    assert bool(better)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="keep must lie in"):
        RelaxedStage(4, [1, 1], keep=0.95, lipschitz=0.9)
    with pytest.raises(ValueError, match="stages must be at least 1"):
        RelaxedPODM(0, STAGE)
