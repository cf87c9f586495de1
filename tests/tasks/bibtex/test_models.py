"""The baselines of table 5.1: shapes, training, and closed forms against automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tasks.bibtex.data import GeneratedLabels
from tasks.bibtex.metrics import f1_scores
from tasks.bibtex.models.dvn import DVN, soft_f1
from tasks.bibtex.models.feedforward import FeedForward
from tasks.bibtex.models.icnn import PICNN
from tasks.bibtex.models.potential import LabelPotential
from tasks.bibtex.models.spen import SPEN

FEATURES, LABELS = 100, 20
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: FeedForward(FEATURES, LABELS, (32, 32), reduction="sum"),
    "feedforward": lambda: FeedForward(FEATURES, LABELS, (64,), batch_norm=True, fan_out_init=True, reduction="sum"),
    "spen": lambda: SPEN(FEATURES, LABELS, (32, 32), pretrain_epochs=0),
    "icnn": lambda: PICNN(FEATURES, LABELS, 32, steps=10, step_size=0.1),
    "dvn_gt": lambda: DVN(FEATURES, LABELS, (32, 32)),
    "dvn_adversarial": lambda: DVN(FEATURES, LABELS, (32,), sampling="adversarial"),
}


@pytest.fixture(scope="module")
def sample() -> tuple[Tensor, Tensor]:
    z, y = GeneratedLabels(FEATURES, LABELS, batch_size=1, n_train=200).load()[0]
    return z.float(), y.float()


def train(network: nn.Module, z: Tensor, y: Tensor, steps: int, lr: float = 3e-3) -> list[float]:
    groups = getattr(network, "parameter_groups", network.parameters)()
    optimizer = torch.optim.Adam(groups, lr=lr)
    losses = []
    for _ in range(steps):
        loss = network.loss(z, y)  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(network, "after_step"):
            network.after_step()  # type: ignore[operator]
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NETWORKS)
def test_training_lowers_the_loss_and_predicts_labels(name: str, sample: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    network, (z, y) = NETWORKS[name](), sample
    if isinstance(network, SPEN):  # its second phase starts from a trained classifier
        train(network.mlp, z, y, 60)
        network.begin_epoch(0)
    losses = train(network, z, y, 150)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    network.eval()
    scores = network.predict(z)  # type: ignore[operator]
    assert scores.shape == y.shape and not scores.requires_grad
    assert 0 <= scores.min() and scores.max() <= 1
    untrained = NETWORKS[name]().eval().predict(z)  # type: ignore[operator]
    half = torch.tensor([0.5])
    assert f1_scores(scores, y, half)["f1"] > f1_scores(untrained, y, half)["f1"] + 10


def test_fan_out_init_bounds_every_layer() -> None:
    network = FeedForward(FEATURES, LABELS, (64,), fan_out_init=True)
    assert 0.9 / 8 < network.body[0].weight.abs().max() <= 1 / 8  # type: ignore[operator, union-attr]
    assert network.head.weight.abs().max() <= LABELS**-0.5


def random_labels(rows: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(rows, LABELS, generator=generator, dtype=dtype).requires_grad_()
    a = torch.randn(rows, LABELS, generator=generator, dtype=dtype)
    target = (torch.rand(rows, LABELS, generator=generator) < 0.3).to(dtype)
    return y, a, target


def test_potential_gradient_equals_autograd() -> None:
    potential = LabelPotential(LABELS, 4).double()
    y, a, _ = random_labels()
    (expected,) = torch.autograd.grad(potential(y, a).sum(), y)
    value, gradient = potential.value_and_gradient(y, a)
    torch.testing.assert_close(potential.gradient(y, a), expected)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(value, potential(y, a))


def test_dvn_gradient_equals_autograd() -> None:
    network = DVN(FEATURES, LABELS).double()
    y, a, _ = random_labels()
    (expected,) = torch.autograd.grad(torch.sigmoid(network.potential(y, a)).sum(), y)
    torch.testing.assert_close(network.value_gradient(y, a), expected)


def test_dvn_extra_samples() -> None:
    _, a, target = random_labels(200)
    given = DVN(FEATURES, LABELS, extra=1.0).double().sample(a, target)
    torch.testing.assert_close(given, target)
    found = DVN(FEATURES, LABELS, extra=0.0).double()
    torch.testing.assert_close(found.sample(a, target), found.infer(a))
    torch.manual_seed(0)
    network = DVN(FEATURES, LABELS, sampling="adversarial", extra=1.0).double()
    sampled = network.sample(a, target)
    from_truth = (sampled == network.ascend(target, a)).all(1)
    from_zero = (sampled == network.ascend(torch.zeros_like(a), a)).all(1)
    assert (from_truth | from_zero).all()
    assert 60 < from_truth.sum() < 140


def test_soft_f1_is_f1_on_binary_labels() -> None:
    _, _, target = random_labels(40)
    predicted = target.flip(0)
    expected = f1_scores(predicted, target, torch.tensor([0.5]))["f1"] / 100
    torch.testing.assert_close(soft_f1(predicted, target).mean()[None], expected)


def test_dvn_refuses_unknown_sampling() -> None:
    with pytest.raises(ValueError, match="ground_truth, adversarial"):
        DVN(FEATURES, LABELS, sampling="stratified")


def test_icnn_gradient_equals_autograd_and_is_differentiable() -> None:
    network = PICNN(FEATURES, LABELS, 32).double()
    x = torch.rand(6, FEATURES, dtype=torch.float64)
    k = network.inject(x)
    y, _, _ = random_labels()
    (expected,) = torch.autograd.grad(network.energy(y, k).sum(), y, create_graph=True)
    torch.testing.assert_close(network.gradient(y, k), expected)
    ours = torch.autograd.grad(network.gradient(y, k).square().sum(), network.u0.weight, retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(expected.square().sum(), network.u0.weight))


def test_icnn_stays_convex_in_the_labels(sample: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    network, (z, y) = PICNN(FEATURES, LABELS, 32, steps=5, step_size=0.1), sample
    train(network, z, y, 30, lr=0.03)
    k = network.eval().inject(z)
    a, b = torch.rand_like(y), torch.rand_like(y)
    middle = network.energy((a + b) / 2, k)
    assert (middle <= (network.energy(a, k) + network.energy(b, k)) / 2 + 1e-4 * middle.abs()).all()


def test_spen_phases_hand_over_the_classifier(sample: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    network, (z, y) = SPEN(FEATURES, LABELS, (32, 32), pretrain_epochs=2, steps=200), sample
    network.begin_epoch(1)
    train(network, z, y, 5)
    torch.testing.assert_close(network.predict(z), network.mlp.predict(z))
    frozen = network.mlp.head.weight.clone()
    network.begin_epoch(2)
    torch.testing.assert_close(network.local.weight, -frozen)
    train(network, z, y, 5)
    torch.testing.assert_close(network.mlp.head.weight, frozen)
    assert not torch.equal(network.local.weight, -frozen)
    learned = network.local.weight.clone()
    network.begin_epoch(3)  # also what a resumed run does first
    torch.testing.assert_close(network.local.weight, learned)


def test_spen_inference_finds_the_minimum_of_a_linear_energy() -> None:
    network = SPEN(FEATURES, LABELS)
    nn.init.zeros_(network.potential.c2)
    _, a, target = random_labels(dtype=torch.float32)
    torch.testing.assert_close(network.infer(a), (a < 0).float())
    network.augment = 100.0  # overwhelming augmentation drives away from each true label
    torch.testing.assert_close(network.infer(a, target), ((a < 0) & (target == 0)).float())
