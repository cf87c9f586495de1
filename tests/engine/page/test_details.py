"""What stands behind a row of the page."""

from __future__ import annotations

from pathlib import Path

import yaml

from tasks.engine.page import details


def test_a_config_is_shown_without_where_it_ran(tmp_path: Path) -> None:
    kept = {"row": "good", "text": "results_dir: x\n\nlogger: y\n", "levels": [1, {"force": 2}], "method": {"force": 3}}
    where = {"results_dir": "/home/someone/results", "logger": {"mode": "online", "tags": ["a", "b"]}, "force": True}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.dump({"task": "tiny", **where, **kept, "seed": 0}, sort_keys=False))
    text = details.config_text(path)
    assert text is not None and yaml.safe_load(text) == {"task": "tiny", **kept, "seed": 0}
    assert details.config_text(tmp_path / "missing.yaml") is None
