"""tasks.vae.claims and figures on made-up runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.engine.store import Run, write_csv
from tasks.vae.claims import claims
from tasks.vae.figures import figures


def make_run(root: Path, row: str, seed: int, distances: list[float], mse: float = 0.02, **more: float) -> Run:
    directory = root / f"{row}-{seed}"
    directory.mkdir(parents=True)
    metrics = {"test/fid": distances[-1], "test/fid_best": min(distances), "test/fid_floor": 3.0}
    metrics |= {"test/mse": mse, "test/mse_encoder": 0.03, "test/steps": 30.0, **more}
    epochs = [{"epoch": float(e + 3), "test/fid": value} for e, value in enumerate(distances)]
    if row != "vae":
        for epoch in epochs:
            epoch |= {
                f"solver/{way}_{what}": 1.0 for way in ("forward", "backward") for what in ("iterations", "converged")
            }
    image = np.arange(8 * 6 * 6 * 3, dtype=np.uint8).reshape(8, 6, 6, 3)
    names = ("truth", "reconstruction", "generation", "interpolation")
    arrays = dict.fromkeys(names, image) | {"iterates": image[:7], "iterates_truth": image[:1]}
    np.savez(directory / "pictures.npz", **arrays)  # type: ignore[arg-type]
    points = [{"step": step, "mse": 1 / (step + 1), "change": 0.1, "distance": step} for step in range(3)]
    write_csv(directory / "inversions.csv", [{"reading": name, **point} for name in ("a", "b") for point in points])
    content = {"row": row, "protocol": "none", "seed": seed, "data": "made up", "metrics": metrics}
    return Run(directory, content, epochs)


def test_claims_compare_best_and_every_epoch_by_seed(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "vae", seed, [10.0, 8.0, 9.0], mse=0.03) for seed in (0, 1, 2)]
    runs += [make_run(tmp_path, "fpi", seed, [9.0, 7.5, 9.5]) for seed in (1, 2, 3)]
    found = {claim.text: claim for claim in claims(runs)}
    assert [list(claim.differences) for claim in found.values()] == [
        pytest.approx([0.5, 0.5]),
        pytest.approx([-0.5, -0.5]),
        pytest.approx([0.01, 0.01]),
        pytest.approx([0.01] * 3),
    ]
    texts = list(found)
    assert texts[0] == "FPI_GD, workable reading, is below the original VAE in the FID at the best epoch"
    assert texts[1].endswith("in the FID at every epoch of the second half")
    assert {claim.item for claim in found.values()} == {"figure6.11", "figure6.9"}


def test_the_literal_reading_is_judged_by_what_it_does(tmp_path: Path) -> None:
    run = make_run(tmp_path, "fpi_literal", 0, [9.0, 8.0])
    plain = {"epoch": 2.0, "test/mse": 0.05, "test/mse_encoder": 0.05}
    first = run.metrics[0] | {"test/steps": 1.0, "test/mse": 0.03 * 1.002, "test/mse_encoder": 0.03}
    runs = [Run(run.directory, run.run, [plain, first, run.metrics[1] | {"test/steps": 3.0}])]
    *_, stops, same = claims(runs)
    assert "stops at its first iteration" in stops.text and list(stops.differences) == [0.5]
    assert list(same.differences) == pytest.approx([0.008])
    assert claims([]) == []


def test_figures_are_drawn_from_what_there_is_and_name_the_data(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, row, seed, [9.0, 8.0]) for row in ("vae", "fpi") for seed in (0, 1)]
    drawn = figures(runs, tmp_path / "out")
    assert [figure.item for figure in drawn] == [
        *("figure6.11", "figure6.10", "figure6.12", "figure6.13", "figure6.13-interpolation"),
        *("figure6.9-iterates", "figure6.9-inversions", "figure6.9-solver"),
    ]
    assert all("Data: made up." in figure.caption for figure in drawn)
    for figure in drawn:
        assert (tmp_path / "out" / figure.png).stat().st_size > 3_000
    curve = (tmp_path / "out" / "figure6.11.csv").read_text()
    assert "vae,0,test/fid,3.0,9.0" in curve
    alone = [run for run in runs if run.row == "fpi"]
    assert "figure6.9-iterates" not in [figure.item for figure in figures(alone, tmp_path / "less")]
    assert figures([], tmp_path / "none") == []
