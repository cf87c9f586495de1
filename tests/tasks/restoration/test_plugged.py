"""tasks.restoration.plugged: rows around a denoiser, their training, candidates and constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.engine.data import DataNotFoundError
from tasks.restoration.plugged import PlugAndPlay, PODMRestorer
from tests.tasks.restoration.problems import make


def denoiser_options(**more: Any) -> dict[str, Any]:
    return {"denoisers": "own", "channels": 4, "dilations": [1, 1], "first": 1, "sigma": 5.1} | more


def test_a_denoiser_learns_first_and_is_left_alone_then() -> None:
    problem, truth = make()
    candidates = [{"last": 5.0, "strength": 1.0}, {"last": 20.0, "strength": 1.0}]
    row = PlugAndPlay(steps=4, candidates=candidates, **denoiser_options()).double()
    row.begin_epoch(0)
    loss = row.training_loss(problem, truth)
    assert loss is not None and loss.requires_grad
    row.begin_epoch(1)
    assert row.training_loss(problem, truth) is None and row.chosen["last"] == 5.0
    row.begin_epoch(2)
    assert row.chosen["last"] == 20.0


def test_podm_row_uses_its_constants() -> None:
    problem, _ = make()
    options = {"p": 0.8, "axes": 1, "alpha": 1e-3, "error": 0.08, "inner_steps": 2, "tolerance": 1e-4}
    row = PODMRestorer(stages=5, steps=3, candidates=[{"factor": 0.5}], **options, **denoiser_options()).double()
    assert row.podm.prior.weight == pytest.approx(0.01) and row.podm.inner_steps == 2 and row.podm.prior.axes == 1
    values = []
    row.follow(problem, lambda x, numbers: values.append(row.podm.objective(problem, x)))
    assert len(values) == 5 and all(bool((b <= a + 1e-12).all()) for a, b in zip(values, values[1:], strict=False))


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [{"last": 5.0, "strength": 1.0}]
    with pytest.raises(ValueError, match="own or published, got 'drunet'"):
        PlugAndPlay(steps=4, candidates=candidates, **denoiser_options(denoisers="drunet"))
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="task.denoisers=own"):
        PlugAndPlay(steps=4, candidates=candidates, **denoiser_options(denoisers="published"))
