"""Files that are whole or absent, and what makes two configs the same."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import store

CONFIG: dict[str, Any] = {
    "task": {"name": "tiny", "title": "T", "items": ["table0"]},
    "row": "good",
    "protocol": "paper",
    "seed": 0,
    "profile": "sample",
    "results_dir": "results",
    "force": False,
    "logger": {"mode": "auto"},
    "trainer": {"max_epochs": 3, "threads": 1, "accelerator": "auto"},
    "method": {"_target_": "m", "hidden": [4, 4], "empty": {}},
}


def changed(key: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *parents, last = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[last] = value
    return config


@pytest.mark.parametrize("key", ["seed", "row", "trainer.max_epochs", "method.hidden", "method.empty", "task.name"])
def test_what_changes_the_result_changes_the_hash(key: str) -> None:
    assert store.config_hash(changed(key, 7)) != store.config_hash(CONFIG)


@pytest.mark.parametrize(
    "key", ["results_dir", "force", "logger.mode", "trainer.threads", "trainer.accelerator", "task.title", "task.items"]
)
def test_what_does_not_change_the_result_does_not(key: str) -> None:
    assert store.config_hash(changed(key, 7)) == store.config_hash(CONFIG)
    assert store.differences(CONFIG, changed(key, 7)) == []


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert store.config_hash(dict(reversed(CONFIG.items()))) == store.config_hash(CONFIG)


def test_differences_name_key_old_and_new() -> None:
    new = changed("method.hidden", [8])
    new["method"]["extra"] = 1
    assert store.differences(CONFIG, new) == ["method.extra: (none) -> 1", "method.hidden: [4, 4] -> [8]"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    store.write_json(path, {"a": 1})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"cannot write {path}: No space left") as raised:
        store.write_json(path, {"a": 2})
    assert raised.value.errno == errno.ENOSPC
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_json_is_valid_whatever_the_values(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    store.write_json(path, {"metrics": {"loss": math.nan, "f1": [1.0, math.inf]}, "n": 3})
    assert json.loads(path.read_text()) == {"metrics": {"loss": None, "f1": [1.0, None]}, "n": 3}
    run = store.Run(tmp_path, json.loads(path.read_text()))
    assert math.isnan(run.metric("loss")) and math.isnan(run.metric("absent"))


def test_csv_round_trip_with_columns_that_appear_later(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": math.nan, "val/f1": 1e-17}]
    store.write_csv(tmp_path / "m.csv", rows)
    back = store.read_csv(tmp_path / "m.csv")
    assert back[0] == {"epoch": 1.0, "loss": 0.1 + 0.2}
    assert math.isnan(back[1].pop("loss")) and back[1] == {"epoch": 2.0, "val/f1": 1e-17}
    assert store.Run(tmp_path, {}, back).curve("val/f1") == ([2.0], [1e-17])


def test_the_lock_is_exclusive_and_free_again_afterwards(tmp_path: Path) -> None:
    with store.exclusive(tmp_path) as first:
        with store.exclusive(tmp_path) as second:
            assert first and not second
    with store.exclusive(tmp_path) as third:
        assert third


def test_a_run_json_that_is_not_json_does_not_count_as_done(tmp_path: Path) -> None:
    directory = store.job_directory(tmp_path, CONFIG)
    directory.mkdir(parents=True)
    (directory / "run.json").write_text('{"task": "ti')
    assert store.read_json(directory / "run.json") is None
    assert store.load_runs(tmp_path, "sample", "tiny") == ([], [])


def test_results_are_relative_to_the_repository() -> None:
    assert store.results_root("results") == store.ROOT / "results"
    assert store.results_root("/tmp/elsewhere") == Path("/tmp/elsewhere")
