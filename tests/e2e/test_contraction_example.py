"""The worked example: without a remedy training diverges, the cures save it, the delays only delay."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scripts.examples import contraction as example

CURES = {"spectral budget", "projection", "Jacobian penalty x 3"}


@pytest.mark.slow
def test_the_unconstrained_layer_diverges_and_the_cures_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    records = {r.remedy: r for r in example.main(["--steps", "150", "--figure", str(tmp_path / "figure.png")])}
    printed = capsys.readouterr().out
    assert all(name in printed for name in records) and printed.count("diverged at step") >= 3
    assert (tmp_path / "figure.png").stat().st_size > 10_000

    none = records["none"]
    assert none.diverged and 20 < len(none.losses) < 120 and any(none.unconverged)
    assert records["gradient clipping"].diverged
    assert records["initial weights x 0.1"].diverged
    assert len(records["initial weights x 0.1"].losses) > len(none.losses)
    for name in CURES:
        record = records[name]
        assert not record.diverged and example.mean(record.unconverged) < 0.05, name
        assert max(record.radii) < 1 and max(record.losses[-20:]) < 0.6 * record.losses[0]
        assert math.isfinite(record.test_loss)
    for name in ("spectral budget", "projection"):
        assert max(records[name].radii) <= example.FACTOR and not any(records[name].unconverged)
