"""The training of a job by a bare loop: the same batches, steps and evaluations, without Lightning and the engine."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from tasks.engine.batches import mix_seed
from tasks.engine.lean import search_no_more
from tasks.engine.memory import keep_freed_memory


class Loop:
    """What a module may ask of its trainer, and what it logs."""

    def __init__(self, max_epochs: int) -> None:
        self.current_epoch, self.max_epochs, self.should_stop = 0, max_epochs, False
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: Tensor | float, **_: Any) -> None:
        self.logged[name] = float(value)


def train(config: dict[str, Any]) -> nn.Module:
    """Train and test the job of a resolved config; the module as after the last epoch.

    For modules that log once an epoch, are optimised automatically and selected by a metric of the validation set.
    """
    settings, select = config["trainer"], config["select"]
    torch.set_num_threads(settings["threads"])
    keep_freed_memory()
    search_no_more()
    gc.freeze()  # a process of its own would not have all that the suite imports to look through
    pl.seed_everything(config["seed"], verbose=False)
    data = instantiate(config["data"], _convert_="all")
    module = instantiate(config["method"], _convert_="all")
    data.setup("fit")
    loop = Loop(settings["max_epochs"])
    module.trainer, module.log = loop, loop.log
    optimizer, scheduler = _optimizers(module.configure_optimizers())
    sign, best, best_state = (1 if select["mode"] == "max" else -1), -math.inf, None
    batches, evaluated = data.train_dataloader(), data.val_dataloader()
    for epoch in range(settings["max_epochs"]):
        loop.current_epoch = epoch
        pl.seed_everything(mix_seed(config["seed"], epoch) % 2**32, verbose=False)
        batches.sampler.set_epoch(epoch)
        module.on_train_epoch_start()
        for index, batch in enumerate(batches):
            optimizer.zero_grad()
            loss = module.training_step(batch, index)
            loss.backward()
            module.on_before_optimizer_step(optimizer)
            if settings["gradient_clip_val"]:
                torch.nn.utils.clip_grad_norm_(module.parameters(), settings["gradient_clip_val"])
            optimizer.step()
            module.on_train_batch_end(loss, batch, index)
        _evaluate(module, evaluated, module.validation_step, module.on_validation_epoch_end)
        module.on_train_epoch_end()
        if scheduler is not None:
            scheduler.step()
        if sign * loop.logged[select["monitor"]] > best:
            best, best_state = sign * loop.logged[select["monitor"]], copy.deepcopy(module.state_dict())
    last = copy.deepcopy(module.state_dict())
    module.load_state_dict(best_state)
    _evaluate(module, data.test_dataloader(), module.test_step, module.on_test_epoch_end)
    module.load_state_dict(last)
    return module


def _optimizers(given: Any) -> tuple[torch.optim.Optimizer, Any]:
    if isinstance(given, torch.optim.Optimizer):
        return given, None
    assert given["lr_scheduler"]["interval"] == "epoch"
    return given["optimizer"], given["lr_scheduler"]["scheduler"]


def _evaluate(module: pl.LightningModule, batches: Iterable[Any], step: Any, end: Any) -> None:
    module.eval()
    with torch.no_grad():
        for index, batch in enumerate(batches):
            step(batch, index)
        end()
    module.train()
