"""fpi/EQUATIONS.md points at the lines it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.equations import PAGE, AnchorError, renumber


def test_the_page_is_in_step_with_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("#L") > 20
    assert renumber(text, PAGE.parent) == text, "run python scripts/equations.py"


def test_numbers_are_renewed_and_lost_code_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 2\nz = y\n")
    row = "| (1) | [a.py:9](a.py#L9) | `{}` |"
    assert renumber(row.format("y = 2"), tmp_path) == "| (1) | [a.py:2](a.py#L2) | `y = 2` |"
    with pytest.raises(AnchorError, match="found 0"):
        renumber(row.format("w"), tmp_path)
    with pytest.raises(AnchorError, match="found 2"):
        renumber(row.format("y"), tmp_path)
