"""Weights & Biases: decided before the first init, and never able to stop a run."""

from __future__ import annotations

import netrc
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tasks.engine import console
from tasks.engine.errors import ConfigError

MODES = ("auto", "online", "offline", "off")
ANNOUNCED = "FPI_TRACKING_ANNOUNCED"  # set for child processes, so that the mode is said once
REACH_SECONDS = 2.0  # to wait for a first answer of the server, once a process
INIT_SECONDS = 20.0  # to wait for the server to take a run
FINISH_SECONDS = 10.0  # to wait for the last uploads of a run; what is left stays on disk
RUN_ID = "wandb_id"  # in a job's directory
UNFINISHED = "unfinished-upload"  # in a job's wandb/: its online runs are not complete on the server
_failed = False  # W&B itself failed in this process: do not let every further job wait for another failure
_unreachable = False  # the server did: this process goes on offline


def server() -> str:
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"


def logged_in() -> bool:
    """Whether W&B has credentials here: WANDB_API_KEY or an entry for its host in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(server()).hostname or ""
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
        sync = "; upload later with `python scripts/sync.py`, or `wandb login` first"
        console.say(f"W&B: {mode} ({reason}{sync if mode == 'offline' else ''})", style="dim")


def reachable() -> bool:
    """Whether the server answers without an error of its own within REACH_SECONDS."""
    import requests

    try:
        asked = requests.post(f"{server()}/graphql", json={"query": "{ __typename }"}, timeout=REACH_SECONDS)
        return asked.status_code < 500
    except requests.RequestException:
        return False


class Tracker:
    """One W&B run a job. Every method may be called whatever happened before; errors become one warning.

    A server that does not answer costs a process REACH_SECONDS, one that stops answering INIT_SECONDS or
    FINISH_SECONDS: from then on its runs are kept offline.

    Args:
        config: the job's resolved config.
        directory: of the job; W&B's files and the run's id (for resuming) go there.
        mode: online | offline | off.
    """

    def __init__(self, config: dict[str, Any], directory: Path, mode: str) -> None:
        self.run: Any = None
        self.directory, self.online = directory, False
        if mode == "off" or _failed:
            return
        if mode == "online" and not _unreachable and not reachable():
            _go_offline("does not answer")
        if mode == "online" and not _unreachable:
            try:
                self.run = _start(config, directory, "online")
                self.online = True
                return
            except Exception as error:
                _go_offline(f"refused the run ({_brief(error)})")
                (directory / RUN_ID).unlink(missing_ok=True)  # W&B's service holds on to this one
        try:
            self.run = _start(config, directory, "offline")
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

    def table(self, title: str, columns: list[str | int], rows: list[list[Any]]) -> None:
        """A table of the finished job."""
        if self.run is not None:
            try:
                import wandb

                names: list[str | int] = [*columns]
                self.run.log({title: wandb.Table(columns=names, data=rows)})
            except Exception as error:
                self._give_up("log a table", error)

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
        """Leave this run as it is on disk. A failure of an online run is the server's: the next runs are offline."""
        global _failed
        run, self.run = self.run, None
        if not self.online:
            _failed = True
            console.warn(f"W&B could not {what} ({_brief(error)}); going on with metrics.csv only")
            return
        with suppress(OSError):
            (self.directory / "wandb" / UNFINISHED).touch()
        _go_offline(f"failed: W&B could not {what} ({_brief(error)})")
        with suppress(Exception):  # else the next run would wait for this one
            run.finish(exit_code=1)


def _start(config: dict[str, Any], directory: Path, mode: Literal["online", "offline"]) -> Any:
    """A new W&B run of the job, or the one it began before."""
    import wandb

    task = config["task"]
    settings: dict[str, Any] = {"silent": True, "console": "off", "x_disable_stats": True, "disable_git": True}
    settings |= {"init_timeout": INIT_SECONDS, "finish_timeout": FINISH_SECONDS, "finish_timeout_raises": True}
    if os.environ.get("WANDB_BASE_URL"):
        settings["base_url"] = os.environ["WANDB_BASE_URL"]
    run = wandb.init(
        project=config["logger"]["project"],
        entity=config["logger"]["entity"],
        group=task["name"],
        job_type=config["row"],
        name=f"{directory.parent.name}/{directory.name}",
        tags=[*task.get("items", []), config["profile"], config["protocol"]],
        config=config,
        dir=str(directory),
        mode=mode,
        id=_run_id(directory),
        resume="allow" if mode == "online" else None,
        reinit="finish_previous",
        settings=wandb.Settings(**settings),
    )
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    return run


def _go_offline(what: str) -> None:
    global _unreachable
    _unreachable = True
    console.warn(f"W&B: {server()} {what}; runs are kept offline, `python scripts/sync.py` uploads them later")


def _brief(error: Exception) -> str:
    """The first line of an error, without what looks like a key."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r"\b[0-9a-zA-Z_-]{40,}\b", "***", text)


def _run_id(directory: Path) -> str:
    """The job's W&B id, drawn once and kept, so that a resumed job goes on in the same W&B run."""
    path = directory / RUN_ID
    if not path.exists():
        path.write_text(secrets.token_hex(6))
    return path.read_text()
