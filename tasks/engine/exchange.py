"""The groups `solver` and `adjoint`: another method for a row's fixed point, put where the row has its own.

The groups' content is `method.solver` and `method.adjoint`; rows have theirs deeper (`method.network.solver`,
`method.inversion.adjoint`, ...).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.engine.errors import ConfigError

Config = dict[str, Any]

COMMON = ("criterion", "max_iter", "check_every", "on_failure", "compact", "trace")  # the options of every fpi.Solver
OF_NORMAL_CG = tuple(option for option in COMMON if option != "check_every")
RELATIVE = {"_target_": "fpi.Relative"}  # with the core's own tolerance


def exchange(config: Config) -> Config:
    """The resolved config with the chosen solver and adjoint in the places of the row's; as it is without a choice.

    A chosen solver keeps the row's criterion, max_iter and the other options that every solver has, and takes none of
    those that the row's solver has of its own. It solves the backward layer, too, where the row solves both alike.

    Raises ConfigError for a row that solves no fixed point.
    """
    method = dict(config["method"])
    solver, adjoint = method.pop("solver", None), method.pop("adjoint", None)
    if solver is None and adjoint is None:
        return config
    place = next(_places(method), None)
    if place is None:
        group, chosen = ("solver", solver) if solver is not None else ("adjoint", adjoint)
        raise ConfigError(
            f"{group}= has no place for {chosen['_target_']}: row {config['row']} of {config['task']['name']} solves "
            f"no fixed point. Leave {group}= out, or choose an experiment with an FPI layer."
        )
    own, forward = place["adjoint"], place["solver"]
    if solver is not None:
        place["solver"] = _common(forward, COMMON) | solver
        if own.get("solver") == forward:
            own["solver"] = place["solver"]
    if adjoint is not None:
        place["adjoint"] = _adjoint(adjoint, place["solver"], own.get("solver"))
    return {**config, "method": method}


def _adjoint(chosen: Config, forward: Config, backward: Config | None) -> Config:
    """The chosen adjoint with what its solve needs: the options of the row's backward solver, else of the forward's."""
    options = _common(forward if backward is None else backward, COMMON)
    if options.get("criterion", RELATIVE)["_target_"] != "fpi.Relative":
        options["criterion"] = RELATIVE
    if chosen["_target_"] == "fpi.NormalCG":
        return _common(options, OF_NORMAL_CG) | chosen
    if chosen["_target_"] == "fpi.BackwardFPI":
        iteration = {"_target_": "fpi.Picard"} if forward["_target_"] == "fpi.LBFGS" else forward
        own = {key: value for key, value in iteration.items() if key not in COMMON}
        given = chosen.get("solver") or {}
        return {**chosen, "solver": {**(given if "_target_" in given else own | given), **_without(options, given)}}
    return chosen


def _common(options: Config, names: tuple[str, ...]) -> Config:
    return {name: options[name] for name in names if name in options}


def _without(options: Config, names: Config) -> Config:
    return {name: value for name, value in options.items() if name not in names}


def _places(node: Config) -> Iterator[Config]:
    """The parts of a method that have a solver and an adjoint."""
    if isinstance(node.get("solver"), dict) and isinstance(node.get("adjoint"), dict):
        yield node
    for child in node.values():
        if isinstance(child, dict):
            yield from _places(child)
