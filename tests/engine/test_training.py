"""What trains in one process only is refused for several, with the reason and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.config import resolve
from tasks.engine.errors import NotDistributedError
from tasks.engine.training import Training
from tests.e2e.tiny import config


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("bibtex/feedforward", "its BatchNorm1d would take the statistics of a part"),
        ("bibtex/spen", "MultiLabel does not say that its loss is a mean over samples"),
        ("bibtex/mlp", "MultiLabel does not say that its loss is a mean over samples"),  # a sum
        ("bibtex/fpi_gd", "its solver stops by a sum over the batch"),
        ("denoising/nlm", "it has no parameters to train"),
        ("toy/linear", "ToyRegression does not say"),
    ],
)
def test_a_row_of_one_process_is_refused(tmp_path: Path, row: str, reason: str) -> None:
    job = resolve(config(f"experiment={row}", "profile=smoke", "trainer=ddp", "trainer.accelerator=cpu"))
    with pytest.raises(NotDistributedError, match="trainer.devices=2, but this row trains in one process") as refused:
        Training(job, tmp_path, None)
    assert reason in str(refused.value) and "Set trainer.devices=1 (trainer=default)" in str(refused.value)
