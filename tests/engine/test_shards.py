"""Parts of batches: every sample once, with weights that make the parts' means the whole batch's."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tasks.engine import ranks
from tasks.engine.batches import EpochBatches
from tasks.engine.shards import TrainingParts, WholeBatches, part_of


class Pair(NamedTuple):
    y: Tensor
    otf: Tensor


@pytest.mark.parametrize(("size", "count"), [(8, 2), (7, 2), (7, 3), (1, 2), (2, 5)])
def test_the_parts_weighted_means_are_the_means_of_the_batch(size: int, count: int) -> None:
    x = torch.randn(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = [part_of(x, rank, count) for rank in range(count)]
    assert all(len(part) for part, _ in parts)
    torch.testing.assert_close(sum(part.mean(0) * share for part, share in parts) / count, x.mean(0))
    counted = [part for part, share in parts if share]
    assert torch.equal(torch.cat(counted), x)  # every sample once, in order


def test_a_batch_is_cut_at_any_depth() -> None:
    x = torch.arange(4.0)[:, None]
    batch: Any = [Pair(x, x + 10), {"name": ["a", "b", "c", "d"], "epoch": 3, "flow": x}, torch.tensor(7.0), "test"]
    (pair, named, scalar, text), share = part_of(batch, 1, 2)
    assert isinstance(pair, Pair) and pair.otf.tolist() == [[12.0], [13.0]] and share == 1
    assert named["name"] == ["c", "d"] and named["epoch"] == 3 and len(named["flow"]) == 2
    assert scalar == 7 and text == "test"
    assert part_of({"epoch": 1, "indices": [5, 6, 7]}, 0, 2) == ({"epoch": 1, "indices": [5]}, pytest.approx(2 / 3))


def loader(n: int, batch_size: int) -> DataLoader:
    return DataLoader(TensorDataset(torch.arange(n)), sampler=EpochBatches(n, batch_size, seed=0), batch_size=None)


def test_training_parts_follow_the_epoch_and_know_their_weights() -> None:
    parts = [TrainingParts(loader(11, 4), rank, 2) for rank in range(2)]
    seen = []
    for epoch in range(2):
        for part in parts:
            part.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = [list(part) for part in parts]
        assert [len(batch) for batch in batches] == [len(part) for part in parts] == [3, 3]
        assert [part.shares for part in parts] == [[1, 1, pytest.approx(2 / 3)], [1, 1, pytest.approx(4 / 3)]]
        seen.append([torch.cat([one[0], other[0]]).tolist() for one, other in zip(*batches, strict=True)])
        whole = loader(11, 4)
        whole.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert seen[-1] == [batch[0].tolist() for batch in whole]
    assert seen[0] != seen[1]


@pytest.mark.parametrize(("batches", "expected"), [(5, [[0, 2, 4], [1, 3]]), (1, [[0], [0]])])
def test_whole_batches_are_dealt_out_or_taken_by_all(batches: int, expected: list[list[int]]) -> None:
    whole = DataLoader(list(range(batches)), batch_size=None)  # type: ignore[arg-type]
    dealt = [WholeBatches(whole, rank, 2) for rank in range(2)]
    assert [[int(batch) for batch in one] for one in dealt] == expected
    assert [len(one) for one in dealt] == [len(one) for one in expected]


def test_one_process_has_nobody_to_ask() -> None:
    assert ranks.count() == 1 and ranks.share() == 1
    assert ranks.any_rank(True) and not ranks.any_rank(False)
    assert ranks.mean({"a": torch.tensor(2.0), "b": 3}) == {"a": 2.0, "b": 3.0}
    items = [torch.ones(2)]
    assert ranks.gathered(items) is items
