"""Two processes with half of the batch each: the gradients of one process with all of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import fpi
from tests.fpi.problems import DOUBLE, EXACT, make_gd, make_nn

MAKERS = {"nn": make_nn, "gd": make_gd}
Gradients = dict[str, Tensor]


def cases() -> dict[str, tuple[str, str]]:
    return {f"{make}-{adjoint}": (make, adjoint) for make in MAKERS for adjoint in ("BackwardFPI", "NormalCG")}


def build(make: str, adjoint: str) -> fpi.FPILayer:
    torch.manual_seed(0)
    return MAKERS[make](2, 2, 3, adjoint=EXACT[adjoint])


def inputs() -> Tensor:
    return torch.randn(4, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


def gradients(module: torch.nn.Module, z: Tensor) -> Gradients:
    module(z).square().sum(1).mean().backward()
    return {name.removeprefix("module."): p.grad for name, p in module.named_parameters()}


def train(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = {}
    for name, case in cases().items():
        parallel = DistributedDataParallel(build(*case))
        found[name] = gradients(parallel, inputs()[2 * rank : 2 * rank + 2])
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # imports of two processes
@pytest.mark.skipif(not dist.is_gloo_available(), reason="needs the gloo backend")
def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    processes = [context.Process(target=train, args=(rank, port, str(tmp_path)), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        if process.is_alive():
            process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, case in cases().items():
            expected = gradients(build(*case), inputs())
            assert found[name].keys() == expected.keys()
            for key, value in expected.items():
                torch.testing.assert_close(found[name][key], value, rtol=1e-10, atol=1e-12)
