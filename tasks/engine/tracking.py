"""Weights & Biases: decided before the first init, and never able to stop a run."""

from __future__ import annotations

import netrc
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.engine import console
from tasks.engine.errors import ConfigError

MODES = ("auto", "online", "offline", "off")
ANNOUNCED = "FPI_TRACKING_ANNOUNCED"  # set for child processes, so that the mode is said once
_failed = False  # an init of this process failed: do not let every further job wait for another


def logged_in() -> bool:
    """Whether W&B has credentials here: WANDB_API_KEY or an entry for its host in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def decide(mode: str) -> tuple[str, str]:
    """(online | offline | off, the reason in a few words) for logger.mode; WANDB_MODE decides `auto` if it is set.

    Raises ConfigError for an unknown mode, and for `online` without a login.
    """
    if mode not in MODES:
        raise ConfigError(f"logger.mode={mode} is not one of {', '.join(MODES)} (or choose logger=auto|wandb|csv).")
    if mode == "online" and not logged_in():
        raise ConfigError("logger.mode=online needs a W&B login: run `wandb login`, set WANDB_API_KEY, or logger=csv.")
    if mode != "auto":
        return mode, f"logger.mode={mode}"
    if wish := os.environ.get("WANDB_MODE"):
        known = {"online": "online", "shared": "online", "offline": "offline", "dryrun": "offline"}
        return known.get(wish, "off"), f"WANDB_MODE={wish}"
    return ("online", "logged in") if logged_in() else ("offline", "not logged in")


def announce(mode: str, reason: str) -> None:
    """Say once, for this process and its children, where metrics go."""
    if mode != "off" and not os.environ.get(ANNOUNCED):
        os.environ[ANNOUNCED] = mode
        sync = "; upload later with `wandb sync <job>/wandb/offline-run-*`, or `wandb login` first"
        console.say(f"W&B: {mode} ({reason}{sync if mode == 'offline' else ''})", style="dim")


class Tracker:
    """One W&B run a job. Every method may be called whatever happened before; errors become one warning.

    Args:
        config: the job's resolved config.
        directory: of the job; W&B's files and the run's id (for resuming) go there.
        mode: online | offline | off.
    """

    def __init__(self, config: dict[str, Any], directory: Path, mode: str) -> None:
        self.run: Any = None
        if mode == "off" or _failed:
            return
        task = config["task"]
        try:
            import wandb

            self.run = wandb.init(
                project=config["logger"]["project"],
                entity=config["logger"]["entity"],
                group=task["name"],
                job_type=config["row"],
                name=f"{directory.parent.name}/{directory.name}",
                tags=[*task.get("items", []), config["profile"], config["protocol"]],
                config=config,
                dir=str(directory),
                mode="online" if mode == "online" else "offline",
                id=_run_id(directory),
                resume="allow" if mode == "online" else None,
                reinit="finish_previous",
                settings=wandb.Settings(
                    silent=True, console="off", init_timeout=30, x_disable_stats=True, disable_git=True
                ),
            )
            self.run.define_metric("epoch")
            self.run.define_metric("*", step_metric="epoch")
        except Exception as error:
            self._give_up("start", error)

    def log(self, row: dict[str, float]) -> None:
        """One row of the history: an epoch."""
        if self.run is not None:
            try:
                self.run.log(row)
            except Exception as error:
                self._give_up("log", error)

    def images(self, files: dict[str, Path]) -> None:
        """Pictures of the finished job by title."""
        if self.run is not None and files:
            try:
                import wandb

                self.run.log({title: wandb.Image(str(path)) for title, path in files.items()})
            except Exception as error:
                self._give_up("log images", error)

    def finish(self, summary: dict[str, Any], failed: bool = False) -> None:
        """Write the summary and end the run; `failed` marks it as such."""
        if self.run is not None:
            try:
                self.run.summary.update(summary)
                self.run.finish(exit_code=int(failed))
            except Exception as error:
                self._give_up("finish", error)
            self.run = None

    def _give_up(self, what: str, error: Exception) -> None:
        global _failed
        _failed = True
        self.run = None
        console.warn(f"W&B could not {what} ({error}); going on with metrics.csv only")


def _run_id(directory: Path) -> str:
    """The job's W&B id, drawn once and kept, so that a resumed job goes on in the same W&B run."""
    path = directory / "wandb_id"
    if not path.exists():
        path.write_text(secrets.token_hex(6))
    return path.read_text()
