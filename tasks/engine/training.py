"""What a job computes: its data and module, trained and tested by this process, alone or as one of several."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch.nn.modules.batchnorm import _BatchNorm

import fpi
from tasks.engine.callbacks import Checkpoints, EpochSeed, History
from tasks.engine.errors import NotDistributedError
from tasks.engine.lean import Unprofiled, search_no_more
from tasks.engine.memory import keep_freed_memory
from tasks.engine.preempt import Deaf, Request
from tasks.engine.shards import Place, Shards

NOISE = (  # Lightning's hints that do not apply to data held in memory, one job a core
    ".*does not have many workers.*",
    ".*GPU available but not used.*",
    ".*`isinstance.treespec, LeafSpec.` is deprecated.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*you have set wrong number of `log_every_n_steps`.*",
    ".*no `val_dataloader`.*",
    ".*`training_step` returned `None`.*",
    ".*configure_optimizers` returned `None`.*",
    ".*It is recommended to use `self.log.*sync_dist=True.*",  # modules log what all processes have agreed on
)
TRAINER_KEYS = (
    *("max_epochs", "gradient_clip_val", "accumulate_grad_batches", "check_val_every_n_epoch", "precision"),
    *("deterministic", "accelerator", "devices"),
)


class Training:
    """Everything seeded and built, ready to `run`.

    Args:
        config: the job's resolved config.
        directory: of the job; only rank 0 writes there.
        state: checkpoint to go on from.
        stop: obeyed between two epochs (by rank 0, whose end is the others').
        rank: of this process, among trainer.devices.

    Raises:
        NotDistributedError: several devices for a module that trains in one process only.
    """

    def __init__(
        self, config: dict[str, Any], directory: Path, state: dict[str, Any] | None, stop: Request | None = None,
        rank: int = 0,
    ) -> None:  # fmt: skip
        settings, select = config["trainer"], config["select"]
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        if settings["threads"]:
            torch.set_num_threads(settings["threads"])
        keep_freed_memory()
        search_no_more()
        pl.seed_everything(config["seed"], verbose=False)
        self.data: Any = instantiate(config["data"], _convert_="all")
        self.module: Any = instantiate(config["method"], _convert_="all")
        self.monitor = select["monitor"]
        self.history = History(directory / "metrics.csv")
        self.checkpoints = Checkpoints(
            directory, self.history, self.monitor, select["mode"], settings["checkpoint_seconds"], state,
            stop if rank == 0 else Deaf(), writes=rank == 0,
        )  # fmt: skip
        self.progress = _progress_bar(settings["progress"]) if rank == 0 else []
        distributed: dict[str, Any] = {}
        if settings["devices"] > 1:
            refuse(self.module, settings["devices"])
            distributed = {"strategy": Shards(), "plugins": [Place(rank, settings["devices"])]}
        callbacks: list[Callback] = [EpochSeed(config["seed"], rank), self.history, self.checkpoints, *self.progress]
        self.trainer = pl.Trainer(
            **{name: settings[name] for name in TRAINER_KEYS},
            **distributed,
            callbacks=callbacks,
            default_root_dir=directory,
            logger=False,
            enable_progress_bar=bool(self.progress),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            inference_mode=False,  # energies are differentiated in validation, too
            use_distributed_sampler=False,
            profiler=Unprofiled(),
        )

    @property
    def device(self) -> torch.device:
        return self.trainer.strategy.root_device

    @property
    def backend(self) -> str:
        """What connects the processes."""
        return "nccl" if self.device.type == "cuda" else "gloo"

    def run(self) -> dict[str, float]:
        """Train, then test the best epoch if there is one; the final metrics."""
        self.trainer.fit(self.module, datamodule=self.data)
        metrics = {name: value for name, value in self.history.rows[-1].items() if name not in ("epoch", "seconds")}
        if self.monitor is not None:
            self.trainer.strategy.barrier()  # until best.ckpt is written
            self.checkpoints.load_best(self.module)
            self.trainer.test(self.module, datamodule=self.data, verbose=False)
            metrics |= {name: value.item() for name, value in self.trainer.callback_metrics.items() if "test" in name}
        return metrics


def refuse(module: pl.LightningModule, devices: int) -> None:
    """Raise NotDistributedError, with the reason and the fix, for a module that trains in one process only."""
    normalised = next((type(part).__name__ for part in module.modules() if isinstance(part, _BatchNorm)), None)
    if normalised:
        reason = f"its {normalised} would take the statistics of a part of the batch"
    elif not getattr(module, "distributes", False):
        reason = f"{type(module).__name__} does not say that its loss is a mean over samples (`distributes`)"
    elif any(_stops_by_sum(part) for part in module.modules()):
        reason = "its solver stops by a sum over the batch (Absolute, scope: batch), which a part reaches earlier"
    elif not any(parameter.requires_grad for parameter in module.parameters()):
        reason = "it has no parameters to train"
    else:
        return
    raise NotDistributedError(
        f"trainer.devices={devices}, but this row trains in one process only: {reason}. "
        "Set trainer.devices=1 (trainer=default)."
    )


def _stops_by_sum(part: torch.nn.Module) -> bool:
    """(A relative criterion of the batch stops parts elsewhere, too, but within its tolerance.)"""
    criterion = getattr(part.solver, "criterion", None) if isinstance(part, fpi.FPILayer) else None
    return isinstance(criterion, fpi.Absolute) and criterion.scope == "batch"


def _progress_bar(wish: bool | str) -> list[Callback]:
    """A bar for a single job on a terminal; lines for the jobs of a multirun, which may run side by side."""
    single = not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN
    return [RichProgressBar()] if wish is True or (wish == "auto" and single and sys.stdout.isatty()) else []
