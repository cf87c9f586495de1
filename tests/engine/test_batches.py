"""Index batches: every sample once an epoch, in an order that depends on (seed, epoch) alone."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tasks.engine.batches import EpochBatches, mix_seed


def order(sampler: EpochBatches, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return [int(i) for batch in sampler for i in batch]


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_batches_have_the_sizes_asked_for(drop_last: bool, sizes: list[int]) -> None:
    sampler = EpochBatches(10, 4, seed=0, drop_last=drop_last)
    assert [len(batch) for batch in sampler] == sizes and len(sampler) == len(sizes)


def test_each_epoch_has_every_sample_once_in_its_own_order() -> None:
    sampler = EpochBatches(50, 8, seed=3)
    orders = [order(sampler, epoch) for epoch in range(3)]
    assert all(sorted(one) == list(range(50)) for one in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    expected = order(EpochBatches(50, 8, seed=3), 5)
    torch.manual_seed(99)
    torch.rand(7)
    assert order(EpochBatches(50, 16, seed=3), 5) == expected
    assert order(EpochBatches(50, 8, seed=4), 5) != expected


def test_unshuffled_batches_are_in_order_and_shuffling_leaves_the_global_state_alone() -> None:
    assert order(EpochBatches(7, 3, seed=0, shuffle=False), 2) == list(range(7))
    before = torch.get_rng_state()
    order(EpochBatches(7, 3, seed=0), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_indexes_the_data_set_once_a_batch() -> None:
    data = TensorDataset(torch.arange(10.0), torch.arange(10))
    loader = DataLoader(data, sampler=EpochBatches(10, 4, seed=0), batch_size=None)
    batches = list(loader)
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert all(torch.equal(x, y.float()) for x, y in batches)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1, 0), "n=0"), ((5, 0, 0), "batch_size=0"), ((5, 1, -1), "-1"), ((3, 4, 0, True, True), "no batch of 4")],
)
def test_what_makes_no_batches_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochBatches(*arguments)


def test_neighbouring_seeds_are_unrelated() -> None:
    seeds = {mix_seed(a, b) for a in range(20) for b in range(20)}
    assert len(seeds) == 400
    assert mix_seed(1, 2) != mix_seed(2, 1) and 0 <= min(seeds) and max(seeds) < 2**63
