"""Values given on the command line: of the kind that the config has there.

A word where a number belongs would otherwise end deep inside a job, in an error that names neither the key nor the
value.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tasks.engine.errors import ConfigError
from tasks.engine.store import ROOT

CONFIGS = str(ROOT / "configs")
KINDS = {bool: "true or false", float: "a number", list: "a list", dict: "a group of keys"}


def check(cfg: DictConfig) -> None:
    """Compare the values that this job was given with those of the config without them.

    Number is number, whole or not; null is left to who reads the key, and so is a single value in the place of a word.

    Raises:
        ConfigError: a value of another kind; naming key, value, the expected kind and the value that is replaced.
    """
    if not HydraConfig.initialized():
        return
    overrides = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    chosen = [override for override in overrides if _chooses(override)]
    given = [override for override in overrides if not _chooses(override)]
    if not given:
        return
    usual = _composed(tuple(override.input_line or "" for override in chosen))
    for override in given:
        key = override.key_or_group
        before, value = _value(usual, key), _value(cfg, key)
        expected = _expected(before, value)
        if expected:
            raise ConfigError(f"{key}={_text(value)} is not valid: expected {expected}, such as {_text(before)}.")


def _chooses(override: Override) -> bool:
    """Whether it chooses a file of configs/ and is no value."""
    return (ROOT / "configs" / override.key_or_group).is_dir()


@cache  # the jobs of a sweep differ in few choices
def _composed(choices: tuple[str, ...]) -> DictConfig:
    # a process that runs the jobs of others has none of its own
    own = nullcontext() if GlobalHydra().is_initialized() else initialize_config_dir(CONFIGS, version_base="1.3")
    with own:
        try:
            return compose("train", list(choices))
        except HydraException:  # a choice that needs one of the values
            return OmegaConf.create()


def _value(cfg: DictConfig, key: str) -> Any:
    """The resolved value; None if there is none, or if it depends on one that is not there."""
    try:
        value = OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _expected(before: Any, value: Any) -> str | None:
    """The kind that `before` has and `value` has not, or None."""
    if before is None or value is None or _kind(before) == _kind(value):
        return None
    if _kind(before) is str:
        return "a word" if isinstance(value, list | dict) else None
    return KINDS[_kind(before)]


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _text(value: Any) -> str:
    """As it is written on the command line."""
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
