"""One job: one config, trained to the end in one directory. Skipped when done, resumed when interrupted."""

from __future__ import annotations

import itertools
import logging
import shutil
import sys
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, RichProgressBar
from omegaconf import DictConfig, OmegaConf

from tasks.engine import console, errors, paper, store, tracking
from tasks.engine.callbacks import Checkpoints, EpochSeed, History, resume_from
from tasks.engine.config import resolve
from tasks.engine.environment import environment
from tasks.engine.errors import ConfigError
from tasks.engine.memory import keep_freed_memory
from tasks.engine.preempt import Preempted, Request, listening, queue_again

NOISE = (  # Lightning's hints that do not apply to data held in memory, one job a core
    ".*does not have many workers.*",
    ".*GPU available but not used.*",
    ".*`isinstance.treespec, LeafSpec.` is deprecated.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*you have set wrong number of `log_every_n_steps`.*",
    ".*no `val_dataloader`.*",
    ".*`training_step` returned `None`.*",
    ".*configure_optimizers` returned `None`.*",
)


def run_job(cfg: DictConfig) -> dict[str, Any]:
    """Run one job and return the content of its run.json, or of failed.json if an exception ended it.

    Raises ConfigError, before anything is written, for a config that is not valid, and for a directory that another
    config has written or another process is writing.
    """
    config = resolve(cfg)
    directory = store.job_directory(store.results_root(config["results_dir"]), config)
    tracking_mode, reason = tracking.decide(config["logger"]["mode"])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with store.exclusive(directory) as free:
            if not free:
                raise ConfigError(f"{directory} is being written by another process: wait for it or stop it.")
            store.remove_temporaries(directory)
            done = _claim_directory(directory, config)
            if done is not None:
                console.say(f"skip  {_title(config)}: done before, {_key_metric(config, done['metrics'])}", style="dim")
                return done
            tracking.announce(tracking_mode, reason)
            return _train_or_record_failure(directory, config, tracking_mode)
    except OSError as error:
        raise ConfigError(f"{error}. {errors.hint(error)}") from error


def _claim_directory(directory: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The content of run.json if this config ran here; else write config.yaml. Refuses another config's directory."""
    path = directory / "config.yaml"
    if path.exists():
        old = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(old, dict)
        changes = store.differences(old, config)  # type: ignore[arg-type]
        if changes and not config["force"]:
            raise ConfigError(
                f"{directory} was written by another config; it differs in (old -> new):\n  "
                + "\n  ".join(changes)
                + "\nFix: choose another results_dir=, or force=true to move the old directory aside."
            )
        if config["force"]:
            aside = _new_directory(directory.with_name(f"{directory.name}.old-{time.strftime('%Y%m%d-%H%M%S')}"))
            for entry in [entry for entry in directory.iterdir() if entry.name != ".lock"]:
                shutil.move(entry, aside)
            console.say(f"moved the old content of {directory} to {aside.name}")
        elif done := store.read_json(directory / "run.json"):
            return done
    store.atomic_write(path, OmegaConf.to_yaml(OmegaConf.create(config)))
    (directory / "failed.json").unlink(missing_ok=True)
    return None


def _new_directory(wish: Path) -> Path:
    """A directory of this name, or with a number after it: clocks stand still and jump back."""
    for number in itertools.count(1):
        path = wish if number == 1 else wish.with_name(f"{wish.name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def _train_or_record_failure(directory: Path, config: dict[str, Any], tracking_mode: str) -> dict[str, Any]:
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    console.show_warnings_briefly()
    try:
        with listening() as stop:
            return _train(directory, config, tracking_mode, stop)
    except Preempted as preempted:
        console.say(f"{_title(config)} stopped by {preempted.name}: the same command goes on from its last epoch")
        queue_again()
        raise
    except Exception as error:
        cause = errors.root_cause(error)
        failure = {
            **{key: config[key] for key in ("row", "protocol", "seed", "profile")},
            "task": config["task"]["name"],
            "status": "failed",
            "error": f"{type(cause).__name__}: {cause}",
            "hint": errors.hint(error),
            "command": command(config),
            "traceback": "".join(traceback.format_exception(error)),
        }
        text = f"{_title(config)} failed: {failure['error']}\n  {failure['hint']}"
        with suppress(OSError):  # the disk may be full: then the console line is all there is
            store.write_json(directory / "failed.json", failure)
            text += f"\n  Traceback: {directory / 'failed.json'}"
        console.error(text)
        return failure


def _train(directory: Path, config: dict[str, Any], tracking_mode: str, stop: Request) -> dict[str, Any]:
    settings, select = config["trainer"], config["select"]
    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    keep_freed_memory()
    state, problems = resume_from(directory)
    for problem in problems:
        start = "from the beginning" if state is None else f"from the checkpoint before it, epoch {state['epoch']}"
        console.warn(f"{problem}; starting {_title(config)} {start}")
    pl.seed_everything(config["seed"], verbose=False)
    data = instantiate(config["data"], _convert_="all")
    module = instantiate(config["method"], _convert_="all")
    stand_in = bool(data.stand_in)
    published = paper.numbers(config["task"]["name"], config["row"], stand_in)

    tracker = tracking.Tracker(config, directory, tracking_mode)
    history = History(directory / "metrics.csv", [tracker.log])
    checkpoints = Checkpoints(
        directory, history, select["monitor"], select["mode"], settings["checkpoint_seconds"], state, stop
    )
    progress = _progress_bar(settings["progress"])
    callbacks: list[Callback] = [EpochSeed(config["seed"]), history, checkpoints, *progress]
    names = (
        *("max_epochs", "gradient_clip_val", "accumulate_grad_batches", "check_val_every_n_epoch", "precision"),
        *("deterministic", "accelerator", "devices"),
    )
    trainer = pl.Trainer(
        **{name: settings[name] for name in names},
        callbacks=callbacks,
        default_root_dir=directory,
        logger=False,
        enable_progress_bar=bool(progress),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,  # energies are differentiated in validation, too
    )
    env = environment(gpu=trainer.strategy.root_device.type == "cuda")
    store.write_json(directory / "env.json", env)
    if not progress:
        resumed = f" from epoch {state['epoch']}" if state else ""
        console.say(f"start {_title(config)}, {settings['max_epochs']} epochs{resumed}", style="dim")
    failed = True
    summary: dict[str, Any] = {}
    try:
        trainer.fit(module, datamodule=data)
        metrics = {name: value for name, value in history.rows[-1].items() if name not in ("epoch", "seconds")}
        if select["monitor"] is not None:
            checkpoints.load_best(module)
            trainer.test(module, datamodule=data, verbose=False)
            metrics |= {name: value.item() for name, value in trainer.callback_metrics.items() if "test" in name}
        tracker.table("results", ["metric", "ours", "paper"], _beside_the_paper(metrics, published))
        if hasattr(module, "artifacts"):
            tracker.images(module.artifacts(directory) or {})
        run = {
            **{"task": config["task"]["name"], "row": config["row"], "protocol": config["protocol"]},
            **{"seed": config["seed"], "profile": config["profile"]},
            **{"data": data.label, "stand_in": stand_in, "status": "done"},
            "config_hash": store.config_hash(config),
            "epochs": int(history.rows[-1]["epoch"]),
            "best_epoch": checkpoints.best_epoch,
            "metrics": metrics,
            "seconds": round(history.seconds, 2),
            "g_evaluations": sum(row.get("cost/g_evaluations", 0.0) for row in history.rows),
            "command": command(config),
            "env": env,
        }
        store.write_json(directory / "run.json", run)
        summary, failed = {**metrics, **published}, False
    finally:
        tracker.finish(summary, failed)
    numbers = _key_metric(config, metrics)
    console.say(f"done  {_title(config)}: {numbers} in {run['seconds']:.1f} s")
    return store.finite(run)


def _beside_the_paper(metrics: dict[str, Any], published: dict[str, float]) -> list[list[Any]]:
    return [[name, value, published.get(f"paper/{name}")] for name, value in sorted(metrics.items())]


def _progress_bar(wish: bool | str) -> list[Callback]:
    """A bar for a single job on a terminal; lines for the jobs of a multirun, which may run side by side."""
    single = not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN
    return [RichProgressBar()] if wish is True or (wish == "auto" and single and sys.stdout.isatty()) else []


def _title(config: dict[str, Any]) -> str:
    protocol = "" if config["protocol"] == "none" else f" {config['protocol']}"
    return f"{config['task']['name']} {config['row']}{protocol} seed {config['seed']} ({config['profile']})"


def _key_metric(config: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The number a person looks at first: the test metric of the selected epoch, else any test loss, else a loss."""
    monitor = config["select"]["monitor"] or ""
    wishes = [f"test/{monitor.rpartition('/')[2]}", monitor, "test/loss", "val/loss", "train/loss", *metrics]
    name = next((name for name in wishes if name in metrics), None)
    return "no metrics" if name is None else f"{name} {console.number(metrics[name])}"


def command(config: dict[str, Any]) -> str:
    """The command that runs this job alone: as it was typed, or without Hydra from the config."""
    given: list[str] = []
    if HydraConfig.initialized():
        left_out = ("reproduce=", "results_dir=", "force=")
        given = [item for item in HydraConfig.get().overrides.task if not item.lstrip("+~").startswith(left_out)]
    else:
        given = [f"experiment={config['task']['name']}/{config['row']}", f"seed={config['seed']}"]
    if not any(item.startswith("profile=") for item in given):
        given.append(f"profile={config['profile']}")
    return " ".join(["python scripts/train.py", *given])
