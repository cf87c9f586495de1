"""What the engine adds to Lightning's training: seeded epochs, the history of metrics, and exact checkpoints.

A checkpoint is taken between two epochs, when nothing is half done (learning-rate schedulers included), and every
epoch starts from random states that depend on (seed, epoch) alone. So a job killed at any moment and started again ends
with the same weights and metrics as one left alone. What a module carries from epoch to epoch beside its state_dict
must go through its on_save_checkpoint and on_load_checkpoint.
"""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from tasks.engine.batches import mix_seed
from tasks.engine.errors import CheckpointError
from tasks.engine.lean import BetweenEpochs
from tasks.engine.preempt import Request
from tasks.engine.store import atomic_write, keep_copy, write_csv

LAST, BEFORE = "last.ckpt", "before-last.ckpt"


class EpochSeed(BetweenEpochs):
    """Seeds all random generators from (seed, epoch) at the start of every training epoch.

    Further processes of a job (rank above 0) have streams of their own: else all parts of a batch had the same dropout.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed, self.ranks = seed, [rank] if rank else []

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        pl.seed_everything(mix_seed(self.seed, trainer.current_epoch, *self.ranks) % 2**32, verbose=False)


class History(BetweenEpochs, Checkpoint):
    """One row of logged metrics an epoch: {"epoch": epochs done, "seconds": since the job began, name: value}.

    (A Checkpoint callback runs last in an epoch, after the module's own on_train_epoch_end has logged.)

    Args:
        path: metrics.csv, rewritten by `write`.
        listeners: called with each new row.
    """

    def __init__(self, path: Path, listeners: list[Callable[[dict[str, float]], None]] | None = None) -> None:
        self.path, self.listeners = path, listeners or []
        self.rows: list[dict[str, float]] = []
        self.seconds_before = 0.0  # spent by earlier, interrupted attempts
        self.started = time.monotonic()
        self.logged: dict[str, Tensor] = {}

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent on this job, interrupted attempts included up to their last checkpoint."""
        return self.seconds_before + time.monotonic() - self.started

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "seconds": round(self.seconds, 3)}
        logged = dict(trainer.callback_metrics)
        # Lightning keeps the last value of what was not logged again (validation every few epochs): leave it out
        fresh = [name for name, value in logged.items() if value is not self.logged.get(name)]
        row |= {name: logged[name].item() for name in fresh if not name.endswith("_step")}
        self.logged = logged
        self.rows.append(row)
        for listener in self.listeners:
            listener(row)

    def write(self) -> None:
        if self.rows:
            write_csv(self.path, self.rows)


class Checkpoints(BetweenEpochs, Checkpoint):
    """last.ckpt between epochs (and before-last.ckpt, the one before it) and best.ckpt by a monitored metric.

    The best epoch is kept in memory, and written just before last.ckpt.

    Args:
        directory: of the job.
        history: saved with the weights; its rows hold the monitored metric.
        monitor: metric of best.ckpt; None: no best.ckpt.
        mode: "max" | "min": which value of `monitor` is better. The first of equals is kept.
        every_seconds: shortest time between two writes.
        state: content of the checkpoint to go on from (`resume_from`).
        stop: obeyed between two epochs, after last.ckpt was written.
        writes: False in the further processes of a job, which restore and select like the first.
    """

    def __init__(
        self,
        directory: Path,
        history: History,
        monitor: str | None = None,
        mode: str = "max",
        every_seconds: float = 10.0,
        state: dict[str, Any] | None = None,
        stop: Request | None = None,
        writes: bool = True,
    ) -> None:
        self.last, self.before, self.best = (directory / name for name in (LAST, BEFORE, "best.ckpt"))
        self.history, self.monitor, self.mode = history, monitor, mode
        self.every_seconds, self.stop = every_seconds, stop or Request()
        self.state, self.writes = state, writes
        self.best_epoch: int | None = None
        self.best_score = -math.inf  # larger is better, whatever the mode
        self.unwritten_best: dict[str, Any] | None = None
        self.saved_at = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.stop.listen()  # Lightning's handler of SIGTERM would end the epoch in its middle
        if self.state is not None:
            self._restore(trainer, module, self.state)
            self.state = None

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        asked = self.stop.signum is not None
        if trainer.current_epoch > 0 and (asked or time.monotonic() - self.saved_at >= self.every_seconds):
            self._save(trainer, module)
        self.stop.obey()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.monitor is None:
            return
        row = self.history.rows[-1]
        if self.monitor not in row:
            if (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1):
                return  # no validation in this epoch
            raise KeyError(f"select.monitor={self.monitor} was not logged; logged were: {', '.join(sorted(row))}")
        score = row[self.monitor] if self.mode == "max" else -row[self.monitor]
        if score > self.best_score or self.best_epoch is None:
            self.best_score, self.best_epoch = (-math.inf if math.isnan(score) else score), int(row["epoch"])
            if self.writes:
                best = _module_state(module) | {"epoch": self.best_epoch, "score": score}
                self.unwritten_best = copy.deepcopy(best)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._save(trainer, module)

    def load_best(self, module: pl.LightningModule) -> None:
        """Put the best epoch's weights into the module. Raises CheckpointError if best.ckpt cannot be read."""
        _load_module(module, _load(self.best, module.device))

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.writes:
            return
        self.history.write()
        if self.unwritten_best is not None:
            atomic_write(self.best, _bytes(self.unwritten_best))
            self.unwritten_best = None
        steps = trainer.fit_loop.epoch_loop
        state = _module_state(module) | {
            "epoch": trainer.current_epoch,
            "optimizer_steps": steps.automatic_optimization.optim_progress.optimizer_steps,
            "manual_steps": steps.manual_optimization.optim_step_progress.total.completed,
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
            "precision": trainer.precision_plugin.state_dict(),
            "history": self.history.rows,
            "seconds": self.history.seconds,
            "best": [self.best_score, self.best_epoch],
        }
        keep_copy(self.last, self.before)
        atomic_write(self.last, _bytes(state))
        self.saved_at = time.monotonic()

    def _restore(self, trainer: pl.Trainer, module: pl.LightningModule, state: dict[str, Any]) -> None:
        try:
            _load_module(module, state)
            for optimizer, content in zip(trainer.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(content)
            for config, content in zip(trainer.lr_scheduler_configs, state["schedulers"], strict=True):
                config.scheduler.load_state_dict(content)
            trainer.precision_plugin.load_state_dict(state["precision"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{self.last} does not fit this code's module or optimiser: {error}") from error
        # Lightning's own restart repeats or skips parts of an epoch; between epochs the counters alone are enough.
        loop = trainer.fit_loop
        for progress in (loop.epoch_progress.current, loop.epoch_progress.total):
            progress.ready = progress.started = progress.processed = progress.completed = state["epoch"]  # type: ignore[attr-defined]
        optimization = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        optimization.ready = optimization.completed = state["optimizer_steps"]
        manual = loop.epoch_loop.manual_optimization.optim_step_progress.total
        manual.ready = manual.completed = state["manual_steps"]
        loop.epoch_loop._batches_that_stepped = state["optimizer_steps"] + state["manual_steps"]
        self.history.rows, self.history.seconds_before = state["history"], state["seconds"]
        self.best_score, self.best_epoch = state["best"]


def resume_from(directory: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """(the newest checkpoint that can be read or None, what is wrong with those that cannot, which are removed)."""
    problems: list[str] = []
    for name in (LAST, BEFORE):
        try:
            if (state := read_checkpoint(directory / name)) is not None:
                return state, problems
        except CheckpointError as error:
            problems.append(str(error))
            (directory / name).unlink()  # else the next write would keep it as the one before
    return None, problems


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The content of last.ckpt, on the CPU; None if there is none. Raises CheckpointError if it cannot be read."""
    if not path.exists():
        return None
    state = _load(path, torch.device("cpu"))
    if missing := {"epoch", "state_dict", "optimizers", "history"} - state.keys():
        raise CheckpointError(f"{path} is not a checkpoint of a job: it lacks {', '.join(sorted(missing))}")
    return state


def _load(path: Path, device: torch.device) -> dict[str, Any]:
    """A file that torch.save wrote, its bytes verified: torch.load itself takes changed weights as they are."""
    try:
        with ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise BadZipFile(f"the checksum of {damaged} is wrong")
        return dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # whatever damaged bytes make the readers raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} cannot be read: {reason}") from error


def _module_state(module: pl.LightningModule) -> dict[str, Any]:
    state: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(state)
    return state


def _load_module(module: pl.LightningModule, state: dict[str, Any]) -> None:
    module.on_load_checkpoint(state)
    module.load_state_dict(state["state_dict"])


def _bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
