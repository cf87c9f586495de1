"""tasks.task_template: data, models, training and resuming, claims and figures."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import DictConfig

from tasks.engine.job import run_job
from tasks.engine.store import Run, load_runs
from tasks.task_template.claims import ROWS, claims
from tasks.task_template.data import EquationData
from tasks.task_template.figures import figures

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def compose(row: str, *overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose("train", [f"experiment=task_template/{row}", "profile=smoke", *overrides])


def make_run(row: str, seed: int, loss: float) -> Run:
    run = {"row": row, "protocol": "none", "seed": seed, "data": "generated", "metrics": {"test/loss": loss}}
    return Run(Path(), run, [{"epoch": 1.0, "test/loss": 2 * loss}, {"epoch": 2.0, "test/loss": loss}])


def test_samples_solve_the_equation() -> None:
    data = EquationData(state=5, inputs=3, train_samples=20, test_samples=7, batch_size=4, seed=0)
    z, x = data.test_set
    torch.testing.assert_close(x, torch.tanh(x @ data.a.T + z @ data.b.T))
    assert x.shape == (7, 5) and len(data.order) == 5
    with pytest.raises(ValueError, match=r"data\.state must be at least 1"):
        EquationData(state=0, inputs=3, train_samples=20, test_samples=7, batch_size=4, seed=0)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_trains_at_smoke(row: str, tmp_path: Path) -> None:
    result = run_job(compose(row, f"results_dir={tmp_path}", "trainer.max_epochs=5"))
    assert result["status"] == "done"
    (run,), failed = load_runs(tmp_path, "smoke", "task_template")
    losses = run.curve("test/loss")[1]
    assert losses[-1] < losses[0] and not failed


def test_the_claim_has_the_sign_of_its_truth() -> None:
    runs = [make_run("fpi_nn", seed, 0.1) for seed in (0, 1)] + [make_run("feedforward", seed, 0.3) for seed in (1, 2)]
    (claim,) = claims(runs)
    assert claim.differences == pytest.approx([0.2])
    assert claims(runs[:2]) == []


def test_the_figure_shows_every_row(tmp_path: Path) -> None:
    (figure,) = figures([make_run(row, 0, 0.1) for row in ROWS], tmp_path)
    assert all(row in (tmp_path / figure.csv).read_text(encoding="utf-8") for row in ROWS)
    assert figures([], tmp_path) == []
