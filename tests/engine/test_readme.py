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


def test_stand_in_data_are_named_and_give_no_number(tmp_path: Path) -> None:
    verdicts = ["holds", "inconclusive", "inconclusive"]
    claims = [
        {"text": "beats it", "difference": 0.1, "ci95": 0.2, "n": 3, "verdict": v, "data": "photos"} for v in verdicts
    ]
    cells = [{"item": "table6.1", "row": "fpi_nn_s15", "protocol": "paper", "metric": "psnr", "paper": 32.43}]
    (tmp_path / "denoising").mkdir()
    summary = {"task": "denoising", "profile": "sample", "cells": cells, "claims": claims}
    store.write_json(tmp_path / "denoising" / "summary.json", summary)
    section = readme.results_section(tmp_path)
    assert "| denoising | photos | 1 | 0 | 2 | [record](results/published/denoising/README.md) |" in section
    assert "stand-in data" in section and "32.43" not in section


def test_a_further_profile_has_a_record_of_its_own(tmp_path: Path) -> None:
    claim = {"text": "beats it", "difference": 0.1, "ci95": 0.2, "n": 3, "verdict": "holds"}
    for profile, data in (("sample", "photos"), ("train400", "real images")):
        name = store.record("denoising", profile)
        (tmp_path / name).mkdir()
        summary = {"task": "denoising", "profile": profile, "cells": [], "claims": [claim | {"data": data}]}
        store.write_json(tmp_path / name / "summary.json", summary)
    section = readme.results_section(tmp_path)
    assert "| denoising | photos | 1 | 0 | 0 | [record](results/published/denoising/README.md) |" in section
    there = "results/published/denoising-train400/README.md"
    assert f"| denoising-train400 | real images | 1 | 0 | 0 | [record]({there}) |" in section
