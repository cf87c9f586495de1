"""The task's configs: every row composes and builds in both protocols, and what must be equal is equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tasks.bibtex.module import MultiLabel
from tasks.bibtex.rows import ROWS

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def config(*overrides: str) -> Any:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("train", overrides=list(overrides))


def test_every_row_has_an_experiment() -> None:
    assert {path.stem for path in (CONFIGS / "experiment" / "bibtex").glob("*.yaml")} == set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_rows_compose_and_build(row: str) -> None:
    cfg = config(f"experiment=bibtex/{row}", "profile=smoke", "protocol=honest", "seed=3")
    assert cfg.row == row and cfg.task.name == "bibtex"
    data, module = instantiate(cfg.data), instantiate(cfg.method)
    assert isinstance(module, MultiLabel) and module.threshold is None
    assert data.label == "generated sample" and data.seed == 3 and data.holdout == 0.1
    data.setup()
    z, _ = next(iter(data.val_dataloader()))
    module.eval()
    assert module.network.predict(z).shape == (len(z), data.n_labels)


@pytest.mark.parametrize(("protocol", "holdout", "threshold"), [("paper", 0.0, 0.5), ("honest", 0.1, None)])
def test_a_protocol_sets_split_and_threshold_for_all_rows(
    protocol: str, holdout: float, threshold: float | None
) -> None:
    for row in ROWS:
        cfg = config(f"experiment=bibtex/{row}", "profile=paper", f"protocol={protocol}")
        assert cfg.data._target_ == "tasks.bibtex.data.BibtexData"
        assert (cfg.data.holdout, cfg.method.threshold) == (holdout, threshold)
        assert (cfg.select.monitor, cfg.select.mode) == ("val/f1", "max")


def test_the_control_differs_from_fpi_nn_by_the_network_alone() -> None:
    ours, control = (
        OmegaConf.to_container(config(f"experiment=bibtex/{row}", "profile=paper"), resolve=True)
        for row in ("fpi_nn", "control")
    )
    assert isinstance(ours, dict) and isinstance(control, dict)
    networks = [cfg["method"].pop("network") for cfg in (ours, control)]
    assert (ours.pop("row"), control.pop("row")) == ("fpi_nn", "control")
    assert ours == control
    assert control["method"]["threshold"] == 0.5
    assert [networks[0]["hidden"]] == networks[1]["hidden"] and networks[1]["reduction"] == "mean"
