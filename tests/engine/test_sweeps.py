"""Which sweeps a task has at a profile, and the command that a record names."""

from __future__ import annotations

from pathlib import Path

from tasks.engine import store
from tasks.engine.sweeps import command, further_rows, sweeps


def test_further_seeds_and_rows_are_not_run_on_samples_unless_asked_for() -> None:
    assert sweeps("bibtex", "paper", {}) == ["bibtex", "bibtex_more_seeds"]
    assert sweeps("bibtex", "paper", {"seed": "0"}, more=True) == ["bibtex"]
    assert sweeps("bibtex", "sample", {}) == ["bibtex"]
    assert sweeps("denoising", "train400", {}) == ["denoising", "denoising_sensitivity"]
    assert sweeps("denoising", "sample", {}, more=True) == ["denoising", "denoising_sensitivity"]


def test_further_rows_are_those_that_the_table_lacks() -> None:
    assert "denoising/fpi_nn_kernel5" in further_rows("denoising") and "denoising/fpi_nn" not in further_rows(
        "denoising"
    )
    assert further_rows("bibtex") == further_rows("vae") == []  # seeds only; none


def test_a_record_names_the_command_that_runs_all_its_rows() -> None:
    published = Path(store.ROOT / "results" / "published")
    for folder in (path.parent for path in published.glob("*/summary.json")):
        summary = store.read_json(folder / "summary.json")
        assert summary is not None
        assert f"`{command(summary['task'], summary)}`" in (folder / "README.md").read_text(encoding="utf-8")
    cells = [{"command": "python scripts/train.py experiment=denoising/fpi_nn_kernel5 profile=sample"}]
    summary = {"profile": "sample", "cells": cells}
    assert command("denoising", summary) == "make reproduce-denoising PROFILE=sample ARGS=more=true"
    assert command("denoising", {**summary, "profile": "train400"}) == "make reproduce-denoising PROFILE=train400"
