"""tasks.classification.claims and figures on made-up runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.classification.claims import claims
from tasks.classification.figures import figures
from tasks.classification.rows import CIFAR10, MNIST
from tasks.engine.store import Run

SPEED = {"jfb": 2.0, "normal_cg": 5.0, "backward_fpi": 4.0, "explicit": 1.0}
ACCURACY = {"jfb": 99.0, "normal_cg": 99.2, "backward_fpi": 99.2, "explicit": 98.0}


def make_run(row: str, seed: int, task: str = MNIST, protocol: str = "paper", stand_in: bool = False) -> Run:
    kind = next(kind for kind in SPEED if row.endswith(kind))
    seconds, accuracy = SPEED[kind] + 0.01 * seed, ACCURACY[kind] + 0.01 * seed
    metrics = {"test/accuracy": accuracy, "cost/seconds_per_epoch": seconds}
    content = {"row": row, "protocol": protocol, "seed": seed, "data": "made up", "stand_in": stand_in, "task": task}
    epochs = []
    for e in (1.0, 2.0, 3.0):
        epochs.append({"epoch": e, "val/accuracy": accuracy - 3 / e, "cost/train_seconds": seconds * e})
        if kind != "explicit":
            epochs[-1] |= {
                "jfb/cosine": 0.9,
                "jfb/cosine_min": 0.8 / e,
                "jfb/norm": 0.7,
                "solver/forward_iterations": 9.0,
            }
        if kind in ("normal_cg", "backward_fpi"):
            epochs[-1] |= {"solver/backward_iterations": 8.0, "cost/jacobian_products": 100 * e}
    return Run(Path("none"), content | {"metrics": metrics}, epochs)


def runs(*rows: str, **options: object) -> list[Run]:
    return [make_run(row, seed, **options) for row in rows for seed in range(3)]  # type: ignore[arg-type]


def test_claims_are_paired_by_seed_and_say_what_the_paper_says() -> None:
    found = {
        claim.text: claim for claim in claims(runs("conv_explicit", "conv_jfb", "conv_normal_cg", "conv_backward_fpi"))
    }
    differences = {text.split(": ")[-1].split(" (paper")[0]: claim.differences for text, claim in found.items()}
    assert differences["Convolutional FPN beats its explicit counterpart"] == pytest.approx([1.0] * 3)
    assert differences["an epoch with JFB is at least 2 × faster"] == pytest.approx(
        [0.5, 5.01 / 2.01 - 2, 5.02 / 2.02 - 2]
    )
    assert differences["JFB is no worse in accuracy (by 0.5 points)"] == pytest.approx([0.3] * 3)
    assert differences["JFB is more accurate than the Jacobian-based gradient"] == pytest.approx([-0.2] * 3)
    assert differences["an epoch with BackwardFPI is faster than with CG (ours)"][0] == pytest.approx(0.25)
    assert differences["an epoch with JFB is faster than with BackwardFPI (ours)"][0] == pytest.approx(1.0)
    assert differences["JFB descends, for every sample and epoch probed"] == pytest.approx([0.8 / 3] * 3)
    assert len(found) == 7 and all(claim.data == "made up" for claim in found.values())
    assert {claim.item for claim in found.values()} == {"table1", "table2", "theorem3.1"}


def test_claims_need_both_rows_and_a_common_seed() -> None:
    assert claims([]) == []
    some = [make_run("fc_jfb", 0), make_run("fc_normal_cg", 1)]
    assert [claim.item for claim in claims(some)] == ["theorem3.1"]


def test_figures_are_drawn_from_what_there_is_and_name_the_data(tmp_path: Path) -> None:
    given = runs("conv_jfb", "conv_normal_cg", "conv_backward_fpi", "fc_jfb", "fc_explicit")
    drawn = {figure.item: figure for figure in figures(given, tmp_path / "out")}
    assert list(drawn) == [
        *("table1-reported", "figure6", "theorem3.1", "table2-solves"),
        *("figure6-fc", "theorem3.1-fc", "table2-solves-fc"),
    ]
    for figure in drawn.values():
        assert "Data: made up." in figure.caption and (tmp_path / "out" / figure.png).stat().st_size > 3_000
    text = (tmp_path / "out" / "figure6.csv").read_text()
    assert "seconds an epoch,conv_normal_cg,2,epoch,3.0,5.0" in text
    assert [figure.item for figure in figures(runs("explicit", task=CIFAR10), tmp_path / "less")] == ["table1-reported"]
    assert figures([], tmp_path / "none") == []


@pytest.mark.parametrize("stand_in", [False, True])
def test_reported_numbers_stand_beside_the_papers_data_alone(tmp_path: Path, stand_in: bool) -> None:
    (figure,) = figures(runs("fc_explicit", stand_in=stand_in), tmp_path)
    text = (tmp_path / figure.csv).read_text()
    assert ("Neural ODE (convolution), reported" in text) is not stand_in
    assert ("do not compare" in figure.caption) is stand_in
