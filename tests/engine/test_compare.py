"""Runs side by side: the keys that differ, the metrics, the page; and arguments that are no runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import compare, store
from tasks.engine.errors import ConfigError
from tests.engine.page.test_page import Parsed
from tests.engine.test_report import add_run


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two rows of two and one seeds, with configs that differ in one key beside row and seed."""
    for row, seed, f1, lr in (("good", 0, 43.0, 0.1), ("good", 1, 44.0, 0.1), ("control", 0, 41.0, 0.2)):
        add_run(tmp_path, row, seed, f1)
        directory = tmp_path / f"paper/tiny/{row}/seed{seed}"
        (directory / "config.yaml").write_text(f"row: {row}\nseed: {seed}\nmethod: {{lr: {lr}, depth: 2}}\n")
        store.write_csv(directory / "metrics.csv", [{"epoch": e, "val/f1": f1 + e} for e in (1, 2)])
        run = store.read_json(directory / "run.json") or {}
        store.write_json(directory / "run.json", run | {"epochs": 2})
    return tmp_path / "paper/tiny"


def test_what_differs_and_the_metrics_are_printed_and_on_the_page(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = rows / "out/compare.html"
    assert compare.main([f"{rows}/good", f"{rows}/control/seed0", f"to={target}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Config", "good", "control/seed0"] in lines  # named by what they do not share
    assert ["method.lr", "0.1", "0.2"] in lines and ["row", "good", "control"] in lines
    assert not [line for line in lines if line[:1] in (["seed"], ["method.depth"])]
    assert ["test/f1", "43.50", "±", "6.35", "(2)", "41.00", "(1)"] in lines
    parsed = Parsed(target)
    assert "method.lr" in parsed.text and "43.50 ± 6.35 (2)" in parsed.text and parsed.all("div", **{"class": "chart"})
    assert not [a for a in parsed.all("a") if a["href"] != "#main"]  # the page may be moved anywhere


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results/nothing"], "two runs or more"),
        (["results/nothing", "results/none"], "nothing has no finished job"),
        (["a", "b", "two=x"], "unknown key 'two'"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare.main(arguments)
