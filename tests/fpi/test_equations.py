"""fpi/EQUATIONS.md and the deviations of the tasks point at the lines they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.docs.deviations import HEADING, ITEM
from scripts.equations import PAGES, AnchorError, renumber


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_the_pages_are_in_step_with_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "#L" in text
    assert renumber(text, page.parent) == text, "run python scripts/equations.py"


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.parent.name)
def test_every_deviation_links_to_a_line(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    heading = HEADING.search(text)
    assert heading is not None
    items = list(ITEM.finditer(text[heading.end() :].partition("\n## ")[0]))
    assert [item["name"] for item in items] == [f"D{number}" for number in range(1, len(items) + 1)] != []
    assert [item["name"] for item in items if "#L" not in item["text"]] == []


@pytest.mark.parametrize("row", ["[a.py:{}](a.py#L{}) | `{}` |", 'in [a.py:{}](a.py#L{} "{}") and'])
def test_numbers_are_renewed_and_lost_code_is_named(row: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = f(1)\ny = f(2)\nz = y\n")
    assert renumber(row.format(9, 9, "y = f(2)"), tmp_path) == row.format(2, 2, "y = f(2)")
    with pytest.raises(AnchorError, match="found 0"):
        renumber(row.format(1, 1, "w"), tmp_path)
    with pytest.raises(AnchorError, match="found 2"):
        renumber(row.format(1, 1, "y"), tmp_path)


def test_a_link_to_a_line_that_names_no_piece_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(AnchorError, match="a.py#L1: a link to a line quotes"):
        renumber("in [a.py:1](a.py#L1).", tmp_path)
