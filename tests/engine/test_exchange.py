"""solver= and adjoint=: another method in the place of a row's, whatever the task; rows without a choice stay."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

import fpi
from tasks.engine import exchange, store
from tasks.engine.config import resolve
from tasks.engine.errors import ConfigError
from tasks.engine.job import run_job
from tests.e2e.tiny import ROOT, config

SOLVERS, ADJOINTS = (
    sorted(path.stem for path in (ROOT / "configs" / group).glob("*")) for group in ("solver", "adjoint")
)
SEVERAL = {  # a row of every place and kind
    "bibtex/fpi_nn": "network",
    "bibtex/fpi_gd": "network",
    "classification/fc_mon": "network",
    "denoising/fpi_nn": "network",
    "flow-chairs/flownets_fpi": "model.refinement",
    "flow-sintel/energy_implicit": "refinement",
    "restoration/fpi": "network",
    "toy/linear": "model",
    "vae/fpi_lbfgs": "inversion",
}


def method(experiment: str, *overrides: str) -> dict[str, Any]:
    """The resolved `method` of an experiment."""
    protocol = "none" if experiment.startswith(("toy", "flow", "vae", "restoration")) else "paper"
    found: dict[str, Any] = resolve(config(f"experiment={experiment}", f"protocol={protocol}", *overrides))["method"]
    return found


def test_the_common_options_are_those_of_the_core() -> None:
    assert set(exchange.COMMON) == {option.name for option in fields(fpi.Solver)}
    assert set(exchange.OF_NORMAL_CG) == {option.name for option in fields(fpi.NormalCG)}


@pytest.mark.parametrize("experiment", SEVERAL)
def test_every_choice_is_put_in_the_place_of_the_rows(experiment: str) -> None:
    def layer(found: dict[str, Any]) -> dict[str, Any]:
        for name in SEVERAL[experiment].split("."):
            found = found[name]
        return found

    before = layer(method(experiment))
    for name in SOLVERS:
        found = method(experiment, f"solver={name}")
        solver = instantiate(layer(found)["solver"])
        assert type(solver).__name__.lower() == name and "solver" not in found
        own = instantiate(before["solver"])
        assert all(getattr(solver, option) == getattr(own, option) for option in exchange.COMMON)
    for name in ADJOINTS:
        found = method(experiment, f"adjoint={name}")
        adjoint = instantiate(layer(found)["adjoint"])
        assert type(adjoint).__name__.lower() == name.replace("_", "") and "adjoint" not in found
        assert layer(found)["solver"] == before["solver"]
        solve = adjoint.solver if name == "backward_fpi" else adjoint
        if name in ("backward_fpi", "normal_cg"):
            assert isinstance(solve.criterion, fpi.Relative)  # eq. 5.6 stops a backward solve at once
            assert not isinstance(solve, fpi.LBFGS) and solve.on_failure == instantiate(before["solver"]).on_failure


def test_the_backward_layer_follows_where_both_are_solved_alike() -> None:
    network = method("denoising/fpi_nn", "solver=anderson", "method.solver.memory=9")["network"]
    assert network["adjoint"]["solver"] == network["solver"] and network["solver"]["memory"] == 9
    assert "damping" not in network["solver"]  # the row's Picard's
    apart = method("classification/fc_backward_fpi", "solver=broyden")["network"]
    assert apart["adjoint"] == method("classification/fc_backward_fpi")["network"]["adjoint"]


def test_options_of_a_chosen_adjoint_are_given_on_the_command_line() -> None:
    given = method("bibtex/fpi_gd", "adjoint=backward_fpi", "+method.adjoint.solver._target_=fpi.BiCGStab")["network"]
    assert given["adjoint"]["solver"]["_target_"] == "fpi.BiCGStab" and given["adjoint"]["solver"]["max_iter"] == 200
    few = method("bibtex/fpi_gd", "adjoint=backward_fpi", "+method.adjoint.solver.max_iter=7")["network"]
    assert (few["adjoint"]["solver"]["_target_"], few["adjoint"]["solver"]["max_iter"]) == ("fpi.Picard", 7)
    cg = method("bibtex/fpi_nn", "adjoint=normal_cg", "+method.adjoint.max_iter=7")["network"]["adjoint"]
    assert cg["max_iter"] == 7


def test_a_choice_that_is_the_rows_own_changes_nothing() -> None:
    same = [resolve(config("experiment=restoration/fpi", *more)) for more in ([], ["adjoint=backward_fpi"])]
    assert store.config_hash(same[0]) == store.config_hash(same[1])


@pytest.mark.parametrize("choice", ["solver=anderson", "adjoint=unrolled"])
@pytest.mark.parametrize("experiment", ["bibtex/control", "vae/vae", "restoration/podm", "flow-sintel/init"])
def test_a_row_without_a_fixed_point_is_refused(experiment: str, choice: str) -> None:
    with pytest.raises(ConfigError, match=f"solves no fixed point. Leave {choice.partition('=')[0]}= out"):
        method(experiment, choice)


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    return run_job(config("profile=smoke", "logger=csv", "trainer.max_epochs=1", f"results_dir={folder}", *overrides))


@pytest.mark.parametrize("choice", [*(f"solver={name}" for name in SOLVERS), *(f"adjoint={name}" for name in ADJOINTS)])
def test_a_row_runs_with_each(tmp_path: Path, choice: str) -> None:
    row = "constrained_fpi_gd" if choice == "solver=lbfgs" else "constrained_fpi_nn"
    done = run(tmp_path, f"experiment=toy/{row}", choice, "row=changed")
    assert done["status"] == "done" and done["row"] == "changed"


def test_a_changed_row_is_kept_apart_from_the_row(tmp_path: Path) -> None:
    run(tmp_path, "experiment=toy/constrained_fpi_nn")
    with pytest.raises(ConfigError, match="method.model.solver._target_: fpi.Picard -> fpi.Anderson(.|\n)*row="):
        run(tmp_path, "experiment=toy/constrained_fpi_nn", "solver=anderson")


def test_lbfgs_without_an_energy_says_so(tmp_path: Path) -> None:
    failed = run(tmp_path, "experiment=toy/constrained_fpi_nn", "solver=lbfgs", "row=changed")
    assert "LBFGS needs an energy" in failed["error"]
