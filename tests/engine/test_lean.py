"""What is done around every step: cheaper than Lightning's, to the same effect."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from tasks.engine.config import resolve
from tasks.engine.lean import NOTED, BetweenEpochs, Module, Unprofiled, search_no_more
from tasks.engine.training import Training
from tests.e2e.tiny import config

CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"


def test_lightnings_note_does_not_pass_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NOTED in vars(pl.LightningModule())  # else it has another name by now, and nothing is gained
    module, asked = Module(), []
    monkeypatch.setattr(nn.Module, "__setattr__", lambda self, name, value: asked.append(name))
    module._current_fx_name = "training_step"
    module.other = 1
    assert asked == ["other"] and module._current_fx_name == "training_step"


def test_whatever_else_is_set_on_a_module_is_torchs() -> None:
    module = Module()
    module.weight = nn.Parameter(torch.ones(2))
    module.part = nn.Linear(1, 1)
    assert list(dict(module.named_parameters())) == ["weight", "part.weight", "part.bias"]


def test_the_signature_of_a_training_step_is_built_once() -> None:
    class One(Module):
        def training_step(self, batch: object, index: int) -> None: ...

    class Other(One): ...

    first, again = inspect.signature(One.training_step), inspect.signature(Other.training_step)
    assert first is again and list(first.parameters) == ["self", "batch", "index"]
    assert inspect.getfullargspec(One().training_step).args == ["self", "batch", "index"]  # what Lightning asks for


def test_a_steps_hooks_are_the_only_ones_left_out() -> None:
    hooks = [name for name in dir(Callback) if name.startswith("on_")]
    left_out = [name for name in hooks if not callable(getattr(BetweenEpochs, name))]
    batch = ("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad")
    assert sorted(left_out) == sorted([*batch, "on_before_backward", "on_after_backward", "on_before_optimizer_step"])
    assert set(left_out) < set(hooks)  # which Lightning still calls so


def test_a_jobs_trainer_asks_for_nothing_around_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(resolve(config("trainer.max_epochs=1")), tmp_path, None)
    profiler = training.trainer.profiler
    assert isinstance(profiler, Unprofiled) and profiler.profile("a") is profiler.profile("b")
    asked: list[str] = []
    monkeypatch.setattr(Unprofiled, "profile", lambda self, name: asked.append(name) or self.nothing)
    training.run()
    assert "[LightningModule]TinyModule.on_train_batch_start" in asked
    assert "[Callback]History.on_train_epoch_end" in asked and "[Callback]History.on_train_batch_start" not in asked


@pytest.mark.parametrize("found", [True, False])
def test_a_gpu_that_is_not_there_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    monkeypatch.setenv(CHECK, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    search_no_more()
    assert (CHECK in os.environ) == found
