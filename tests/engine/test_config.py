"""What a job's config may hold, where that depends on the task."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from tasks.engine.config import resolve
from tasks.engine.errors import ConfigError
from tests.e2e.tiny import config


@pytest.mark.parametrize(
    ("experiment", "protocol", "there"),
    [("toy/box", "honest", "toy: expected none"), ("bibtex/fpi_nn", "none", "bibtex: expected paper or honest")],
)
def test_a_protocol_that_the_task_has_not_is_named(experiment: str, protocol: str, there: str) -> None:
    with pytest.raises(ConfigError, match=rf"^protocol='{protocol}' is not valid for {there}\.$"):
        resolve(config(f"experiment={experiment}", f"protocol={protocol}"))


@pytest.mark.parametrize(("experiment", "protocol"), [("toy/box", "none"), ("bibtex/fpi_nn", "honest")])
def test_its_own_protocols_pass(experiment: str, protocol: str) -> None:
    assert resolve(config(f"experiment={experiment}", f"protocol={protocol}"))["protocol"] == protocol


def test_without_a_task_the_tasks_are_named_and_not_all_their_rows() -> None:
    with pytest.raises(ConfigError, match="TASK one of bibtex, .*toy, vae; ") as raised:
        resolve(OmegaConf.create())
    assert len(str(raised.value)) < 300
