"""tasks.restoration.claims and figures on made-up runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.engine.store import Run, write_csv
from tasks.restoration.claims import claims, iterations_saved
from tasks.restoration.figures import figures


def make_run(root: Path, row: str, seed: int, psnr: float) -> Run:
    directory = root / f"{row}-{seed}"
    directory.mkdir(parents=True)
    content = {"row": row, "protocol": "none", "seed": seed, "data": "made up", "metrics": {"test/psnr": psnr}}
    epochs = [{"epoch": float(e + 1), "val/psnr": psnr - 3 / (e + 1)} for e in range(4)]
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(3, 8, 8)
    arrays = {"input": image, "restored": image, "truth": image, "psnr_input": np.ones(3), "psnr_restored": np.ones(3)}
    np.savez(directory / "pictures.npz", **arrays)
    if row.startswith("fpi"):
        for epoch in epochs:
            epoch |= {"solver/forward_iterations": 9.0, "solver/backward_iterations": 8.0}
    if row.startswith("podm"):
        ours = [{"fista": 0.0, "iteration": n, "objective": 1 + 2.0**-n, "psnr": n, "change": 1 / n} for n in (1, 2, 8)]
        theirs = [{"fista": 1.0, "iteration": n, "objective": 1 + 9 / n, "psnr": n, "change": 0.0} for n in (1, 2, 3)]
        write_csv(directory / "curves.csv", ours + theirs)
    return Run(directory, content, epochs)


def table(root: Path, values: dict[str, float]) -> list[Run]:
    return [make_run(root, row, seed, value + 0.01 * seed) for row, value in values.items() for seed in range(3)]


def test_claims_are_paired_differences(tmp_path: Path) -> None:
    runs = table(tmp_path, {"tv_deblur": 29.0, "pnp_own_deblur": 30.0, "rpodm_deblur": 31.5, "podm_own_deblur": 28.0})
    found = {claim.text: claim for claim in claims(runs)}
    gains = [claim for text, claim in found.items() if "ends at a higher PSNR" in text]
    assert [list(claim.differences) for claim in gains] == [[5.0] * 3]
    found = {text: claim for text, claim in found.items() if claim not in gains}
    gaps = {text.split(" (deblurring")[0]: list(claim.differences) for text, claim in found.items()}
    assert (
        gaps.pop("PODM (our denoiser) reaches within 1 % of the lowest Φ in fewer iterations than FISTA") == [-4.0] * 3
    )
    assert gaps == {
        "Relaxed PODM beats TV": pytest.approx([2.5] * 3),
        "Relaxed PODM beats Denoiser prior (our denoiser)": pytest.approx([1.5] * 3),
        "Denoiser prior (our denoiser) beats TV": pytest.approx([1.0] * 3),
        "Relaxed PODM beats PODM (our denoiser)": pytest.approx([3.5] * 3),
    }
    assert "by 4.68 dB on Levin's images in the poster" in next(iter(found))
    assert all(claim.data == "made up" for claim in found.values())
    assert claims([]) == []


def test_iterations_to_the_lowest_objective(tmp_path: Path) -> None:
    run = make_run(tmp_path, "podm_own_sr4", 0, 30.0)
    # ours falls within 1 % of the lowest value (1 + 2^-8) at its iteration 8; FISTA never: one past its last, 3 + 1
    assert iterations_saved(run) == 4.0 - 8.0
    assert iterations_saved(make_run(tmp_path, "tv_sr4", 0, 30.0)) is None


def test_figures_are_drawn_from_what_there_is(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs", {"tv_deblur": 29.0, "podm_own_deblur": 28.0, "fpi_deblur": 30.0, "fpi_sr4": 27.0})
    drawn = figures(runs, tmp_path / "out")
    assert [figure.item for figure in drawn] == [
        "figure2",
        "figure3",
        "figure3-sr4",
        "table1-training",
        "table1-solver",
    ]
    for figure in drawn:
        assert "made up" in figure.caption
        for name in (figure.png, figure.svg, figure.csv):
            assert (tmp_path / "out" / name).stat().st_size > 100
    assert figures([], tmp_path / "none") == []
