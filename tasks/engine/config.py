"""A job's config: what must be there, what it may hold, and the errors that say so."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tasks.engine.errors import ConfigError
from tasks.engine.exchange import exchange
from tasks.engine.store import ROOT

PROTOCOLS = ("none", "paper", "honest")  # those of a task: the keys of task.protocols; without them, none
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def experiments(task: str = "*") -> list[str]:
    """The names that `experiment=` takes."""
    folder = ROOT / "configs" / "experiment"
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob(f"{task}/*.yaml"))


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain, resolved, validated data. Raises ConfigError naming the key, the expectation and the fix."""
    try:
        _check_present(cfg)
        config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        known = _known(cfg, str(error))
        raise ConfigError(f"{error.full_key or 'config'} cannot be resolved: {_first_line(error)}.{known}") from error
    _check(config)
    return exchange(config)


def _known(cfg: DictConfig, message: str) -> str:
    """What there is where an interpolation found nothing: ${task.sigmas.${.problem}} with another problem."""
    missing = re.search(r"Interpolation key '([^']+)\.[^'.]+' not found", message)
    parent = OmegaConf.select(cfg, missing[1]) if missing else None
    return f" {missing[1]} has {', '.join(map(str, parent))}." if missing and isinstance(parent, DictConfig) else ""


def _check_present(cfg: DictConfig) -> None:
    if OmegaConf.select(cfg, "task.name") is None:
        tasks = dict.fromkeys(name.partition("/")[0] for name in experiments())
        raise ConfigError(f"No task: add experiment=TASK/ROW, TASK one of {', '.join(tasks)}; `--help` lists the rows.")
    protocols = [name for name in PROTOCOLS if name in (OmegaConf.select(cfg, "task.protocols") or ["none"])]
    if (protocol := OmegaConf.select(cfg, "protocol")) not in protocols:  # others may be resolved by its value
        raise ConfigError(f"protocol={protocol!r} is not valid for {cfg.task.name}: expected {' or '.join(protocols)}.")
    for key in ("data", "method"):
        if OmegaConf.select(cfg, f"{key}._target_") is None:
            raise ConfigError(f"{key}._target_ is missing: an experiment chooses it with `override /{key}: ...`.")
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        fix = " ".join(f"{key}=VALUE" for key in missing)
        raise ConfigError(f"Mandatory key without a value: {', '.join(missing)}. Add {fix}, or set it in a config.")


def _check(config: dict[str, Any]) -> None:
    def expect(holds: bool, key: str, expected: str) -> None:
        if not holds:
            value = config
            for part in key.split("."):
                value = value[part]
            raise ConfigError(f"{key}={value!r} is not valid: expected {expected}.")

    trainer = config["trainer"]
    expect(_whole(config["seed"], 0), "seed", "an integer of at least 0")
    for key in ("row", "profile"):
        expect(NAME.fullmatch(str(config[key])) is not None, key, "letters, digits, '_', '-' and '.'")
    expect(not str(config["row"]).endswith("-honest"), "row", "a name without the ending -honest (use protocol=honest)")
    expect(isinstance(config["force"], bool), "force", "true or false")
    expect(config["select"]["mode"] in ("max", "min"), "select.mode", "max or min")
    expect(_whole(trainer["max_epochs"], 1), "trainer.max_epochs", "an integer of at least 1")
    expect(_whole(trainer["devices"], 1), "trainer.devices", "an integer of at least 1")
    threads = trainer["threads"]
    expect(threads is None or _whole(threads, 1), "trainer.threads", "null or an integer of at least 1")
    seconds = trainer["checkpoint_seconds"]
    expect(isinstance(seconds, int | float) and seconds >= 0, "trainer.checkpoint_seconds", "seconds, at least 0")
    expect(trainer["progress"] in ("auto", True, False), "trainer.progress", "auto, true or false")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
