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
from tasks.denoising.models import FPIDenoiser
from tasks.denoising.rows import LEVELS, ROWS
from tasks.engine import paper

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment" / "denoising").glob("*.yaml"))
SENSITIVITY = [name for name in EXPERIMENTS if name not in ROWS]


def compose(experiment: str, profile: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"experiment=denoising/{experiment}", f"profile={profile}", *overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def test_the_tables_list_what_the_sweeps_run() -> None:
    items = {item.item: {row.row for row in item.rows} for item in paper.items("denoising")}
    assert items["table6.1"] == {f"{row}_s{level}" for row in ROWS for level in LEVELS}
    assert items["table6.1-sensitivity"] == {f"{row}_s25" for row in SENSITIVITY}
    for name, rows in (("denoising", ROWS), ("denoising_sensitivity", SENSITIVITY)):
        sweep = yaml.safe_load((CONFIGS / "reproduce" / f"{name}.yaml").read_text())["hydra"]["sweeper"]["params"]
        assert {part.strip() for part in sweep["experiment"].split(",")} == {f"denoising/{row}" for row in rows}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_rows_have_the_thesis_settings_and_build(experiment: str) -> None:
    config = compose(experiment, "paper", "data.sigma=15", "protocol=honest")
    assert config["row"] == f"{experiment}_s15" and config["method"]["sigma"] == 15
    assert config["data"]["_target_"].endswith("FlyingChairsData") and config["data"]["holdout"] == 0.1
    if experiment != "nlm":
        assert config["trainer"]["gradient_clip_val"] == 0.1 and config["trainer"]["max_epochs"] == 20
        assert config["method"]["optimizer"]["lr"] == 1e-3
        assert config["task"]["init_scale"] == (1.0 if experiment.endswith("default_init") else 0.1)
    network = instantiate(config["method"]).network
    if isinstance(network, FPIDenoiser) and experiment != "unrolled":
        assert network.layer.solver.criterion == fpi.Relative(1e-7, scope="sample")
        assert network.layer.solver.max_iter == 200
        if isinstance(network.layer.adjoint, fpi.BackwardFPI):
            assert network.layer.adjoint.solver == network.layer.solver


@pytest.mark.parametrize("profile", ["train400", "sample", "smoke"])
def test_stand_ins_say_so(profile: str) -> None:
    data = instantiate(compose("fpi_nn", profile)["data"])
    assert data.stand_in and data.label == {"train400": "train400, test on bsd68"}.get(profile, "embedded photographs")


def test_own_images_can_be_chosen() -> None:
    given = ("data=denoising_folder", "data.train_folder=a", "data.test_folder=b")
    assert instantiate(compose("fpi_nn", "train400", *given)["data"]).label == "folder a, test on b"


def test_the_plain_row_differs_by_the_damping_alone() -> None:
    ours, plain = (compose(row, "train400") for row in ("fpi_nn", "fpi_nn_plain"))
    assert (ours.pop("row"), plain.pop("row")) == ("fpi_nn_s25", "fpi_nn_plain_s25")
    network = plain["method"]["network"]
    assert network["solver"].pop("damping") == network["adjoint"]["solver"].pop("damping") == 1.0
    for part in (ours["method"]["network"]["solver"], ours["method"]["network"]["adjoint"]["solver"]):
        assert part.pop("damping") == 0.5
    assert ours == plain
