"""tasks.denoising.claims and figures on made-up runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.denoising.claims import claims
from tasks.denoising.figures import figures
from tasks.engine.store import Run, write_csv


def make_run(root: Path, row: str, level: int, seed: int, psnr: float, protocol: str = "honest") -> Run:
    directory = root / f"{row}-{level}-{seed}-{protocol}"
    directory.mkdir(parents=True)
    metrics = {"test/psnr": psnr, "test/psnr_at_15": psnr + 2, "test/psnr_at_50": psnr - 4}
    content = {"row": f"{row}_s{level}", "protocol": protocol, "seed": seed, "data": "made up", "metrics": metrics}
    epochs = [{"epoch": float(e + 1), "val/psnr": psnr - 3 / (e + 1)} for e in range(4)]
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8)
    arrays = {"noisy": image, "denoised": image, "truth": image, "psnr_noisy": np.ones(3), "psnr_denoised": np.ones(3)}
    if row.startswith("fpi_nn"):
        for epoch in epochs:
            for way in ("forward", "backward"):
                epoch |= {f"solver/{way}_iterations": 10.0, f"solver/{way}_converged": 1.0}
        write_csv(directory / "iterates.csv", [{"iteration": n, "psnr": n, "residual": 1 / n} for n in (1, 2, 4)])
        arrays |= {"iterates": image[[0, 1, 2, 0, 1, 2, 0, 1]], "psnr_iterates": np.arange(8.0)}
    np.savez(directory / "pictures.npz", **arrays)
    return Run(directory, content, epochs)


def table(root: Path, gaps: dict[int, float], seeds: int = 3) -> list[Run]:
    runs = []
    for level, gap in gaps.items():
        for seed in range(seeds):
            runs.append(make_run(root, "feedforward", level, seed, 30 - level / 5 + 0.01 * seed))
            runs.append(make_run(root, "fpi_nn", level, seed, 30 - level / 5 + 0.01 * seed + gap))
    return runs


def test_claims_are_the_gaps_and_their_growth(tmp_path: Path) -> None:
    found = {claim.text: claim for claim in claims(table(tmp_path, {15: 0.2, 20: 0.5, 25: 0.6}))}
    differences = [claim.differences for claim in found.values()]
    assert [text.split(" (")[0] for text in found] == [
        "FPI_NN beats Feedforward at σ = 15",
        "FPI_NN beats Feedforward at σ = 20",
        "FPI_NN beats Feedforward at σ = 25",
        "the gap is larger at σ = 25 than at 15",
        "the gap grows from each σ to the next",
    ]
    expected = [0.2, 0.5, 0.6, 0.4, 0.1]
    assert differences == [pytest.approx([value] * 3) for value in expected]
    assert [claim.item for claim in found.values()] == ["table6.1"] * 3 + ["table6.2"] * 2
    assert all(claim.data == "made up" for claim in found.values())


def test_a_gap_that_shrinks_once_contradicts_its_growth(tmp_path: Path) -> None:
    *_, wider, grows = claims(table(tmp_path, {15: 0.2, 20: 0.7, 25: 0.6}))
    assert wider.differences == pytest.approx([0.4] * 3) and grows.differences == pytest.approx([-0.1] * 3)


def test_our_rows_are_compared_over_all_levels_on_common_seeds(tmp_path: Path) -> None:
    runs = table(tmp_path, {15: 0.3, 20: 0.3, 25: 0.3}, seeds=2)
    runs += [make_run(tmp_path, "control", level, 1, 30 - level / 5) for level in (15, 20, 25)]
    (claim,) = [claim for claim in claims(runs) if "as many parameters" in claim.text]
    assert claim.text == "FPI_NN beats Feedforward, as many parameters, mean over σ (honest protocol)"
    assert claim.differences == pytest.approx([0.31])


def test_incomplete_levels_make_no_claim_about_growth(tmp_path: Path) -> None:
    found = claims(table(tmp_path, {15: 0.2, 25: 0.5}))
    assert len(found) == 2 and claims([]) == []


@pytest.mark.filterwarnings("error::UserWarning")  # as of limits that coincide, where all solves stop at the cap
def test_figures_are_drawn_from_what_there_is_and_name_the_data(tmp_path: Path) -> None:
    runs = table(tmp_path, {15: 0.2, 20: 0.4, 25: 0.5})
    runs += [make_run(tmp_path, row, 25, 0, 25, "paper") for row in ("fpi_nn", "feedforward")]
    drawn = figures(runs, tmp_path / "out")
    assert [figure.item for figure in drawn] == [
        *("figure6.1", "figure6.2", "figure6.2-iterations", "table6.1-training", "table6.1-solver"),
        "table6.1-robustness",
    ]
    assert all("Data: made up." in figure.caption for figure in drawn)
    for figure in drawn:
        assert (tmp_path / "out" / figure.png).stat().st_size > 3_000
    robust = (tmp_path / "out" / "table6.1-robustness.csv").read_text()
    assert "fpi_nn" in robust and ",50.0," in robust
    only = [run for run in runs if run.row == "feedforward_s15"]
    assert [figure.item for figure in figures(only, tmp_path / "less")] == ["table6.1-training"]
    assert figures([], tmp_path / "none") == []
