"""A job and the bare loop of its steps as two processes that take turns every few steps, each timed while it works.

So what else the machine does, which is more than the difference looked for, slows both alike.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare import train
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig

from tasks.engine import store
from tasks.engine.config import resolve
from tasks.engine.job import run_job

Weights = dict[str, np.ndarray]
Work = Callable[[DictConfig], Weights]


@dataclass
class Turn:
    """A process's side: it works when it is told to, and tells for how many seconds it did."""

    pipe: Connection
    begun: float = 0.0

    def begin(self) -> None:
        self.pipe.recv()
        self.begun = time.perf_counter()

    def end(self, *, more: bool) -> None:
        self.pipe.send(time.perf_counter() - self.begun)
        self.pipe.send(more)


def take_turns(overrides: list[str], steps: int) -> dict[str, list[float]]:
    """{"job" | "bare loop": seconds of each turn}: up to the first step, of so many steps at a time, to the end.

    Both run whole, the job with W&B offline. Raises AssertionError if they end with different weights.
    """
    spawned = get_context("spawn")
    seconds: dict[str, list[float]] = {"job": [], "bare loop": []}
    pipes: dict[str, Connection] = {}
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        for who, work in zip(seconds, (_job, _loop), strict=True):
            pipes[who], end = spawned.Pipe()
            processes.append(spawned.Process(target=_child, args=(work, end, overrides, steps, folder), daemon=True))
            processes[-1].start()
            end.close()  # the process has its own: its death is heard here
        for pipe in pipes.values():
            pipe.recv()  # it is ready
        weights: list[Weights] = []
        while not weights:
            for who in sorted(seconds, reverse=len(seconds["job"]) % 2 == 1):
                pipes[who].send("go on")
                seconds[who].append(pipes[who].recv())
            weights = [pipe.recv() for pipe in pipes.values() if not pipe.recv()]
        for process in processes:
            process.join()  # it may still be writing into the folder
    trained, bare = weights
    assert trained.keys() == bare.keys(), "another module"
    assert all(np.array_equal(trained[name], bare[name]) for name in bare), "other steps"
    return seconds


def _child(work: Work, pipe: Connection, overrides: list[str], steps: int, folder: str) -> None:
    given = [*overrides, "logger.mode=offline"]
    with initialize_config_dir(str(store.ROOT / "configs"), version_base="1.3"):
        # first a small one: what a process does once belongs to the start
        work(compose("train", [*given, "profile=smoke", "trainer.max_epochs=1", f"results_dir={folder}/small"]))
        # a checkpoint every 10 seconds, of which the other process has the half
        cfg = compose("train", [*given, f"results_dir={folder}", "trainer.checkpoint_seconds=20"])
        pipe.send("ready")
        turn = Turn(pipe)
        turn.begin()
        _pass_on_every(steps, get_class(cfg.method._target_), turn)
        weights = work(cfg)
        turn.end(more=False)
    pipe.send(weights)


def _pass_on_every(steps: int, module: Any, turn: Turn) -> None:
    training_step, count = module.training_step, itertools.count()

    @functools.wraps(training_step)
    def step(*args: Any) -> Any:
        if next(count) % steps == 0:
            turn.end(more=True)
            turn.begin()
        return training_step(*args)

    module.training_step = step


def _job(cfg: DictConfig) -> Weights:
    assert run_job(cfg)["status"] == "done"
    config = resolve(cfg)
    last = store.job_directory(Path(config["results_dir"]), config) / "last.ckpt"
    return _arrays(torch.load(last, weights_only=True)["state_dict"])


def _loop(cfg: DictConfig) -> Weights:
    return _arrays(train(resolve(cfg)).state_dict())


def _arrays(state: dict[str, torch.Tensor]) -> Weights:
    return {name: tensor.numpy() for name, tensor in state.items()}
