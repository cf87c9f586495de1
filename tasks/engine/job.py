"""One job: one config, trained to the end in one directory. Skipped when done, resumed when interrupted."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tasks.engine import console, errors, paper, store, tracking
from tasks.engine.callbacks import resume_from
from tasks.engine.config import resolve
from tasks.engine.environment import environment
from tasks.engine.errors import ConfigError
from tasks.engine.helpers import Helpers
from tasks.engine.launch import LAUNCH
from tasks.engine.preempt import Preempted, Request, listening, queue_again
from tasks.engine.training import Training

# What a job writes before its first epoch ends.
UNCOMPUTED = {"config.yaml", "env.json", "failed.json", ".lock", "wandb"}


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
            gc.freeze()  # looking through what was there before the job takes longer than many an epoch
            try:
                return _train_or_record_failure(directory, config, tracking_mode)
            finally:
                # The trainer's reference cycles hold model and data (a gigabyte with images of full size), and the next
                # job of a sweep may run in this process before Python looks for them.
                gc.collect()
                gc.unfreeze()
    except OSError as error:
        raise ConfigError(f"{errors.describe(error)}. {errors.hint(error)}") from error


def _claim_directory(directory: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The content of run.json if this config ran here; else write config.yaml.

    Refuses the directory of another config, unless that one failed before it computed anything.
    """
    path = directory / "config.yaml"
    if path.exists():
        old = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(old, dict)
        changes = store.differences(old, config)  # type: ignore[arg-type]
        if changes and not config["force"]:
            if not _holds_only_a_failure(directory):
                raise ConfigError(
                    f"{directory} was written by another config; it differs in (old -> new):\n  "
                    + "\n  ".join(changes)
                    + "\nFix: choose another row= or results_dir=, or force=true to move the old directory aside."
                )
            (directory / tracking.RUN_ID).unlink(missing_ok=True)  # another config is another run of W&B
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


def _holds_only_a_failure(directory: Path) -> bool:
    """Whether a job failed here before it computed anything, so that a corrected config may have its place."""
    entries = {entry.name for entry in directory.iterdir()}
    return "failed.json" in entries and entries <= {*UNCOMPUTED, tracking.RUN_ID}


def _new_directory(wish: Path) -> Path:
    """A directory of this name, or with a number after it: clocks stand still and jump back."""
    for number in itertools.count(1):
        path = wish if number == 1 else wish.with_name(f"{wish.name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def _train_or_record_failure(directory: Path, config: dict[str, Any], tracking_mode: str) -> dict[str, Any]:
    console.show_warnings_briefly()
    try:
        with listening() as stop:
            stop.obey()
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
            "error": errors.describe(cause),
            "hint": errors.hint(error),
            "command": command(config),
            "launch": os.environ.get(LAUNCH),
            "traceback": "".join(traceback.format_exception(error)),
        }
        # of a full disk every job names another file
        before = _said_before(directory, failure, "hint" if errors.out_of_room(error) else "error")
        text = f"{_title(config)} failed: {failure['error']}\n  {failure['hint']}"
        with suppress(OSError):  # the disk may be full: then the console line is all there is
            store.write_json(directory / "failed.json", failure)
            text += f"\n  Traceback: {directory / 'failed.json'}"
        if before is None:
            console.error(text)
        else:
            console.say(f"{_title(config)} failed like {before}", style="dim")
        return failure


def _said_before(directory: Path, failure: dict[str, Any], key: str) -> str | None:
    """The first job of the same command that failed with the same `key`, or None: a sweep says an error once."""
    others = directory.parents[1].glob("*/seed*/failed.json") if failure["launch"] else ()
    for path in sorted(others, key=lambda path: path.stat().st_mtime_ns):
        other = store.read_json(path) or {}
        if path.parent != directory and all(other.get(name) == failure[name] for name in ("launch", key)):
            return "/".join(path.parts[-3:-1])
    return None


def _train(directory: Path, config: dict[str, Any], tracking_mode: str, stop: Request) -> dict[str, Any]:
    state, problems = resume_from(directory)
    for problem in problems:
        start = "from the beginning" if state is None else f"from the checkpoint before it, epoch {state['epoch']}"
        console.warn(f"{problem}; starting {_title(config)} {start}")
    with Helpers(config, directory) as helpers:
        training = Training(config, directory, state, stop)
        stand_in = bool(training.data.stand_in)
        published = paper.numbers(config["task"]["name"], config["row"], stand_in)
        tracker = tracking.Tracker(config, directory, tracking_mode)
        history = training.history
        history.listeners.append(tracker.log)
        env = environment(gpu=training.device.type == "cuda")
        store.write_json(directory / "env.json", env)
        if not training.progress:
            resumed = f" from epoch {state['epoch']}" if state else ""
            together = f" in {helpers.count} processes" if helpers.count > 1 else ""
            epochs = config["trainer"]["max_epochs"]
            console.say(f"start {_title(config)}, {epochs} epochs{resumed}{together}", style="dim")
        failed = True
        summary: dict[str, Any] = {}
        try:
            helpers.connect(training.backend)
            metrics: dict[str, Any] = training.run()
            helpers.leave()
            tracker.table("results", ["metric", "ours", "paper"], _beside_the_paper(metrics, published))
            if hasattr(training.module, "artifacts"):
                tracker.images(training.module.artifacts(directory) or {})
            run = {
                **{"task": config["task"]["name"], "row": config["row"], "protocol": config["protocol"]},
                **{"seed": config["seed"], "profile": config["profile"]},
                **{"data": training.data.label, "stand_in": stand_in, "status": "done"},
                "config_hash": store.config_hash(config),
                "epochs": int(history.rows[-1]["epoch"]),
                "best_epoch": training.checkpoints.best_epoch,
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


def _title(config: dict[str, Any]) -> str:
    protocol = "" if config["protocol"] == "none" else f" {config['protocol']}"
    return f"{config['task']['name']} {config['row']}{protocol} seed {config['seed']} ({config['profile']})"


def _key_metric(config: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The number a person looks at first: the test metric of the selected epoch, else any test loss, else a loss.

    Of a run that diverged that it did: what it logged before says nothing.
    """
    if metrics.get("diverged") == 1:
        return "diverged"
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
