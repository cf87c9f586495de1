"""The README's result tables are what the published records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import readme, store
from tasks.engine.errors import ConfigError
from tasks.engine.store import ROOT


def test_the_readme_is_in_step_with_the_published_record() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(readme.BEGIN)[2].partition(readme.END)[0]
    assert section.strip() == readme.results_section(ROOT / "results" / "published").strip()


def test_update_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n", encoding="utf-8")
    readme.update(page, tmp_path)
    assert page.read_text(encoding="utf-8") == f"before\n{readme.BEGIN}\n{readme.END}\nafter\n"


def test_missing_markers_are_named(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(ConfigError, match="results:begin"):
        readme.update(page, tmp_path)


def test_stand_in_data_are_named_and_only_the_papers_rows_shown(tmp_path: Path) -> None:
    def cell(row: str, number: float | None) -> dict[str, object]:
        return {
            **{"item": "table6.1", "row": row, "protocol": "paper", "metric": "psnr", "paper": number, "mean": 28.0},
            **{"ci95": 0.1, "n": 3, "verdict": None, "data": "embedded photographs"},
        }

    claims = [{"text": v, "difference": 0.1, "ci95": 0.2, "n": 3, "verdict": v} for v in ("holds", "inconclusive")]
    cells = [cell("fpi_nn_s15", 32.43), cell("control_s15", None)]
    (tmp_path / "denoising").mkdir()
    store.write_json(tmp_path / "denoising" / "summary.json", {"task": "denoising", "cells": cells, "claims": claims})
    section = readme.results_section(tmp_path)
    assert "stand-in data (embedded photographs)" in section and "1 more are inconclusive" in section
    assert "32.43" in section and "as many parameters" not in section
    assert "| holds |" in section and "| inconclusive |" not in section
