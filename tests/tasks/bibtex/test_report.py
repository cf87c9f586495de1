"""tasks.bibtex.claims and figures on made-up runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.bibtex.claims import claims
from tasks.bibtex.figures import figures
from tasks.engine.store import Run


def run(directory: Path, row: str, protocol: str, seed: int, f1: float) -> Run:
    content = {"row": row, "protocol": protocol, "seed": seed, "data": "bibtex", "metrics": {"test/f1": f1}}
    epochs = [{"epoch": float(e), "val/f1": f1 - 5 / (e + 1), "train/loss": 1 / (e + 1)} for e in range(4)]
    if row.startswith("fpi"):
        for epoch in epochs:
            for way in ("forward", "backward"):
                epoch |= {f"solver/{way}_iterations": 8.0, f"solver/{way}_residual": 1e-9}
    folder = directory / f"{row}-{protocol}-{seed}"
    folder.mkdir(parents=True)
    (folder / "threshold.csv").write_text("threshold,f1\n0.2,44\n0.5,40\n")
    return Run(folder, content, epochs)


def test_claims_pair_runs_by_seed_and_protocol(tmp_path: Path) -> None:
    scores = {"fpi_nn": [44, 45, 46], "control": [43, 43.5], "dvn_gt": [45, 45, 45]}
    runs = [run(tmp_path, row, "paper", k, f1) for row, values in scores.items() for k, f1 in enumerate(values)]
    runs.append(run(tmp_path, "control", "honest", 0, 99))  # no FPI_NN beside it
    found = {claim.text: claim for claim in claims(runs)}
    assert set(found) == {
        "FPI_NN beats the matched feedforward control (paper's protocol, test-selected)",
        "FPI_NN beats DVN(GT) (paper's protocol, test-selected)",
    }
    control, dvn = found.values()
    assert control.differences == pytest.approx([1, 1.5])  # the seeds both have
    assert dvn.differences == pytest.approx([-1, 0, 1])
    assert control.item == "table5.1" and control.data == "bibtex"


def test_the_best_row_is_compared_with_the_best_other(tmp_path: Path) -> None:
    scores = {"dvn_adversarial": 44.7, "mlp": 38.9, "fpi_nn": 45.0}
    runs = [run(tmp_path, row, "honest", 0, f1) for row, f1 in scores.items()]
    (claim,) = claims(runs)
    assert claim.text == "DVN(Adversarial) is the best row (honest protocol)"
    assert claim.differences == pytest.approx([-0.3])


def test_figures_are_drawn_from_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    runs = [
        run(tmp_path, row, protocol, seed, 40 + seed)
        for row in ("fpi_nn", "mlp")
        for protocol in ("paper", "honest")
        for seed in (0, 1)
    ]
    files = figures(runs, tmp_path / "out")
    assert [file.item for file in files] == ["table5.1-training", "table5.1-solver", "table5.1-threshold"]
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    only = [r for r in runs if r.row == "mlp" and r.protocol == "paper"]
    assert [file.item for file in figures(only, tmp_path / "out")] == ["table5.1-training"]
    assert figures([], tmp_path / "out") == []
