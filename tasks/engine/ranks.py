"""What a module needs to know of the processes that train it together: all of it is idle in a job of one process.

A module that trains in several processes says so (`distributes = True`). That promises: its loss is a mean over the
samples of a batch; in an epoch's means a value counts as much as `share()` says, and they go through `mean`; what it
collects in an evaluation goes through `gathered`; and it stops, or skips a step, only where `any_rank` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_map

T = TypeVar("T")
_NOTHING = object()
_share = 1.0


def count() -> int:
    """The processes of this job."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share() -> float:
    """Weight of a mean over this process's part of the batch, so that the processes' average is the whole batch's mean.

    1 where all parts have the same size.
    """
    return _share


def set_share(value: float) -> None:
    """For the engine, before each training step."""
    global _share
    _share = value


def any_rank(flag: bool) -> bool:
    """Whether the flag is true in any process. Every process must ask."""
    if count() == 1:
        return flag
    found = torch.tensor([float(flag)], device=_device())
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return bool(found.item())


def mean(values: Mapping[str, float | Tensor]) -> dict[str, float]:
    """The processes' average of each number. Every process must ask, with the same names in the same order."""
    numbers = {name: float(value) for name, value in values.items()}
    if count() == 1 or not numbers:
        return numbers
    found = torch.tensor(list(numbers.values()), dtype=torch.float64, device=_device())
    dist.all_reduce(found)
    return dict(zip(numbers, (found / count()).tolist(), strict=True))


def total(value: float) -> float:
    """The sum of the processes' numbers. Every process must ask."""
    return mean({"": value})[""] * count()


def gathered(items: list[T]) -> list[T]:
    """The items of all processes, one of each in turn, as `shards.WholeBatches` deals batches out.

    Tensors at any depth come to this process's device. Every process must ask.
    """
    return merged({"": items})[""]


def merged(lists: dict[str, list[T]]) -> dict[str, list[T]]:
    """`gathered` for lists by name, where a process may lack a name that others have."""
    if count() == 1:
        return lists
    every: list[Any] = [None] * count()
    dist.all_gather_object(every, tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, lists))
    device = _device()
    found: dict[str, list[T]] = {}
    for name in dict.fromkeys(name for one in every for name in one):
        turns = zip_longest(*(one.get(name, []) for one in every), fillvalue=_NOTHING)
        items = [item for turn in turns for item in turn if item is not _NOTHING]
        found[name] = tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, items)
    return found


def _device() -> torch.device:
    nccl = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
