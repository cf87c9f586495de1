"""A value of the wrong kind on the command line is refused in one line, whatever task and key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from tasks.engine import given
from tasks.engine.errors import ConfigError
from tests.e2e.tiny import ROOT


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """Hydra as it was, afterwards."""
    state = Singleton.get_state()
    yield
    Singleton.set_state(state)


def job(overrides: list[str]) -> DictConfig:
    """The config of a job that Hydra starts with these overrides."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        HydraConfig.instance().set_config(compose("train", overrides, return_hydra_config=True))
        return compose("train", overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("experiment=bibtex/fpi_nn method.optimizer.lr=fast", "lr=fast .* a number, such as 0.001"),
        ("experiment=denoising/fpi_nn data.sigma=loud", "sigma=loud .* a number, such as 25"),
        ("experiment=denoising/fpi_nn data.robustness=15", "robustness=15 .* a list, such as .15,2"),
        ("experiment=flow-sintel/init task.learning_rate=fast", "task.learning_rate=fast .* a number"),
        ("experiment=vae/vae data.batch_size=[16]", r"data.batch_size=\[16\] .* a number"),
        ("experiment=classification/fc_jfb method.optimizer.lr=true", "lr=true .* a number, such as 0.00"),
        ("experiment=bibtex/fpi_nn method.optimizer.fused=1", "fused=1 .* true or false, such as true"),
        ("experiment=toy/linear row=[a]", r"row=\[a\] .* a word, such as linear"),
        ("reproduce=toy experiment=toy/linear trainer.max_epochs=many", "max_epochs=many .* a number"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_was_expected(overrides: str, message: str) -> None:
    cfg = job(overrides.split())
    with pytest.raises(ConfigError, match=message) as raised:
        given.check(cfg)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "experiment=denoising/fpi_nn data.sigma=12.5 seed=3 protocol=honest",
        "experiment=bibtex/fpi_nn method.optimizer.lr=1 trainer.threads=null +note=word ~select.mode",
        "experiment=toy/linear trainer.precision=16 logger=csv profile=smoke",
        "experiment=bibtex/fpi_nn data.n_train=${data.n_test}",
    ],
)
def test_values_of_the_same_kind_pass(overrides: str) -> None:
    given.check(job(overrides.split()))


def test_a_job_that_hydra_did_not_start_has_no_values_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        given.check(compose("train", ["experiment=bibtex/fpi_nn", "method.optimizer.lr=fast"]))
