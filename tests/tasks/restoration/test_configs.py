"""The task's configs: every row composes and builds at every profile, and the tables list what the sweep runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tasks.engine import paper
from tasks.engine.config import resolve
from tasks.engine.errors import ConfigError
from tasks.engine.manifest import load_manifest
from tasks.restoration.models import FixedPoint
from tasks.restoration.plugged import WithDenoiser
from tasks.restoration.rows import PROBLEMS, ROWS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment" / "restoration").glob("*.yaml"))


def compose(experiment: str, profile: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"experiment=restoration/{experiment}", f"profile={profile}", *overrides])
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def test_the_tables_list_what_the_sweep_runs() -> None:
    items = {item.item: {row.row for row in item.rows} for item in paper.items("restoration")}
    for problem, item in zip(PROBLEMS, ("table1", "table1-denoise", "table1-sr4"), strict=True):
        assert items[item] == {f"{row}_{problem}" for row in ROWS}
    params = yaml.safe_load((CONFIGS / "reproduce" / "restoration.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert {part.strip() for part in params["experiment"].split(",")} == {f"restoration/{row}" for row in EXPERIMENTS}
    assert params["data.problem"].split(",") == list(PROBLEMS)
    assert {row.removesuffix("_own").removesuffix("_published") for row in ROWS} == set(EXPERIMENTS)
    assert {"podm-denoisers", "levin"} <= load_manifest().keys()


def test_an_unknown_problem_is_answered_by_those_there_are() -> None:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", ["experiment=restoration/tv", "profile=smoke", "data.problem=inpaint"])
    with pytest.raises(ConfigError, match=r"task\.sigmas\.inpaint' not found.* has deblur, denoise, sr4\."):
        resolve(config)


@pytest.mark.parametrize("profile", ["sample", "smoke"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_rows_build_and_name_their_denoisers(experiment: str, profile: str) -> None:
    config = compose(experiment, profile, "data.problem=denoise")
    network = instantiate(config["method"], _convert_="all").network
    own = "_own" if isinstance(network, WithDenoiser) else ""
    assert config["row"] == f"{experiment}{own}_denoise" and config["data"]["sigma"] == 25
    if own and profile == "sample":
        assert config["trainer"]["max_epochs"] == network.first + len(network.candidates)
    data = instantiate(config["data"], _convert_="all")
    assert data.stand_in and data.label == "embedded photographs, generated kernels"


def test_the_larger_profile() -> None:
    config = compose("podm", "train400")
    assert config["row"] == "podm_published_deblur" and config["data"]["sigma"] == 2.55
    assert config["trainer"]["max_epochs"] == 6 and config["method"]["network"]["first"] == 0
    network = instantiate(compose("fpi", "train400")["method"], _convert_="all").network
    assert isinstance(network, FixedPoint)
    assert network.layer.solver == network.layer.adjoint.solver  # type: ignore[attr-defined]
    published, own = (compose("podm", "train400", *more) for more in ((), ("task.denoisers=own",)))
    assert published["row"] != own["row"] == "podm_own_deblur"
