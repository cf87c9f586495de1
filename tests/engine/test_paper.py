"""results/paper.yaml: what the file holds, and that a malformed entry is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import paper
from tasks.engine.config import experiments

TABLE_51 = {  # thesis, table 5.1
    **{"mlp": 38.9, "feedforward": 39.6, "spen": 42.2, "icnn": 41.5, "dvn_gt": 42.9, "dvn_adversarial": 44.7},
    **{"fpi_gd": 43.2, "fpi_nn": 43.4, "control": None},
}


def test_table_51_is_the_papers() -> None:
    (table,) = paper.items("bibtex")
    assert {row.row: row.paper for row in table.rows} == TABLE_51
    assert table.higher_is_better and (table.item, table.metric, table.unit) == ("table5.1", "test/f1", "%")


@pytest.mark.parametrize("task", ["bibtex", "toy"])
def test_every_row_has_an_experiment(task: str) -> None:
    rows = {f"{task}/{row.row}" for item in paper.items(task) for row in item.rows}
    assert rows and rows <= set(experiments())


def test_a_number_is_shown_beside_ours_unless_the_data_stand_in() -> None:
    assert paper.numbers("bibtex", "fpi_nn", stand_in=False) == {"paper/test/f1": 43.4}
    assert paper.numbers("bibtex", "fpi_nn", stand_in=True) == {}
    assert paper.numbers("bibtex", "control", stand_in=False) == {}


ITEM = "t: {items: {table1: {title: T, metric: m, unit: u, higher_is_better: true, rows: {a: %s}}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ITEM % "{label: A, paper: 1.0}", "table1.rows.a: a paper's number needs a tolerance"),
        (ITEM % "{label: A, paper: 1.0, tolerance: 0.5}", "and its reason"),
        (ITEM % "{label: A, papr: 1.0}", "papr"),
        ("t: {items: {table1: {title: T}}}", "table1: expected title, metric"),
        ("t: {items: [", "cannot read"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (path := tmp_path / "paper.yaml").write_text(text)
    with pytest.raises(paper.PaperError, match=message) as raised:
        paper.items("t", path)
    assert str(path) in str(raised.value)
