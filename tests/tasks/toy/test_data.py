"""Fresh training samples that depend on (seed, epoch, batch) alone; one fixed test set."""

from __future__ import annotations

import pytest
import torch

from tasks.toy.data import ToyData


def epoch_of(data: ToyData, epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # as Lightning does
    return list(loader)


def test_epochs_are_fresh_and_reproducible() -> None:
    data = ToyData("box", seed=1, train_samples=250)
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    assert [len(a) for a, _ in first] == [100, 100, 50]
    inputs = torch.cat([a for a, _ in first + second])
    assert len(inputs.unique(dim=0)) == 500
    torch.randn(7)  # nothing depends on the global random state
    again = epoch_of(ToyData("box", seed=1, train_samples=250), 1)
    assert all(torch.equal(a, b) and torch.equal(t, u) for (a, t), (b, u) in zip(second, again, strict=True))
    other = epoch_of(ToyData("box", seed=2, train_samples=250), 1)
    assert not torch.equal(second[0][0], other[0][0])


def test_distributions_and_targets() -> None:
    data = ToyData("simplex", seed=0)
    a = torch.cat([a for a, _ in epoch_of(data, 0)])
    assert a.shape == (10_000, 10)
    assert a.std().item() == pytest.approx(2, rel=0.02) and a.mean().item() == pytest.approx(0, abs=0.02)
    (b, t), *rest = data.val_dataloader()
    assert not rest and b.shape == t.shape == (1_000, 10)
    assert b.std().item() == pytest.approx(1, rel=0.03)
    assert torch.equal(t, data.problem(b))


def test_test_set_is_the_same_for_every_seed() -> None:
    assert torch.equal(ToyData("box", seed=0).test_set[0], ToyData("linear", seed=5).test_set[0])


@pytest.mark.parametrize("key", ["train_samples", "test_samples", "batch_size"])
def test_sizes_below_one_are_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.{key} must be at least 1, got 0"):
        ToyData("box", seed=0, **{key: 0})
