"""The task's configs: every row composes and builds at every profile, with the thesis' settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

import fpi
from tasks.engine import paper
from tasks.engine.profiles import data_needed
from tasks.vae.rows import DISTANCES, ROWS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment" / "vae").glob("*.yaml"))


def compose(experiment: str, profile: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"experiment=vae/{experiment}", f"profile={profile}", *overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def test_the_tables_list_what_the_sweep_runs() -> None:
    assert set(EXPERIMENTS) == set(ROWS)
    sweep = yaml.safe_load((CONFIGS / "reproduce" / "vae.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert {part.strip() for part in sweep["experiment"].split(",")} == {f"vae/{row}" for row in ROWS}
    for item in paper.items("vae"):
        assert [row.row for row in item.rows] == list(ROWS)
        assert [row.label for row in item.rows] == list(ROWS.values())
    assert {item.metric for item in paper.items("vae")} == {"test/mse", *(f"test/{name}_best" for name in DISTANCES)}
    assert data_needed("vae") == {"paper": "celeba", "celeba10k": "celeba10k"}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("profile", ["paper", "celeba10k"])
def test_rows_have_the_thesis_settings_and_build(experiment: str, profile: str) -> None:
    config = compose(experiment, profile)
    assert config["trainer"]["max_epochs"] == 60 and config["method"]["first_half"] == 0.5
    assert config["method"]["optimizer"]["lr"] == 1e-3 and config["data"]["size"] == 64
    module, data = instantiate(config["method"], _convert_="all"), instantiate(config["data"], _convert_="all")
    assert sum(parameter.numel() for parameter in module.network.parameters()) == 3_937_635
    assert data.stand_in == (profile != "paper") and data.n_eval == (10_000 if profile == "paper" else 4_500)
    if experiment == "vae":
        assert module.inversion is None
        return
    layer = module.inversion.layer
    assert layer.solver.max_iter == layer.adjoint.solver.max_iter == 30
    assert layer.solver.criterion == fpi.Absolute(1e-4)
    literal = experiment in ("fpi_literal", "fpi_separate")
    assert layer.g.step_size == (0.1 if literal else 10.0)
    assert layer.adjoint.solver.criterion == (fpi.Absolute(1e-4) if literal else fpi.Relative(1e-4))
    assert module.inversion.weight_scale == (1e-3 if experiment == "fpi_separate" else None)
    assert isinstance(layer.solver, fpi.LBFGS if experiment == "fpi_lbfgs" else fpi.Picard)


@pytest.mark.parametrize("profile", ["sample", "smoke"])
def test_generated_faces_say_so(profile: str) -> None:
    config = compose("fpi", profile)
    data = instantiate(config["data"], _convert_="all")
    data.setup()
    assert data.stand_in and data.label == "generated faces" and data.has_others
    instantiate(config["method"], _convert_="all")
