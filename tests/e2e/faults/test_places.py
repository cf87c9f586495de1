"""Results directories that are full, read-only, used twice or moved, and clocks that jump."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.engine import report, store
from tasks.engine.errors import ConfigError
from tasks.engine.job import run_job
from tests.e2e.test_train import command, environ
from tests.e2e.tiny import ROOT, config, failing

JOB = Path("sample/tiny/good/seed0")


def run(folder: Path, *overrides: str) -> dict:
    return run_job(config(f"results_dir={folder}", "logger=csv", *overrides))


def outcome(folder: Path) -> tuple:
    content = store.read_json(folder / JOB / "run.json")
    assert content is not None
    return content["metrics"], content["best_epoch"], content["config_hash"]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions bind no superuser."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_results_directory_is_refused_in_one_paragraph(tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):  # pytest's own folders are closed to others
        path.chmod(0o755)
    (tmp_path / "results").mkdir(mode=0o555)
    with unprivileged(), pytest.raises(ConfigError, match="Permission denied.*results"):
        run(tmp_path / "results")
    assert not list((tmp_path / "results").iterdir())


def test_a_disk_full_at_the_last_write_loses_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "run.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert "free space" in run(tmp_path / "full")["hint"]
    monkeypatch.setattr(os, "replace", replace)
    with failing(0):  # any training step would fail: only the test is done again
        assert run(tmp_path / "full")["status"] == "done"
    run(tmp_path / "free")
    assert outcome(tmp_path / "full") == outcome(tmp_path / "free")


def test_of_two_processes_on_the_same_job_one_refuses(tmp_path: Path) -> None:
    given = (
        "experiment=tiny/good",
        "trainer.max_epochs=40",
        "method.delay=0.05",
        f"results_dir={tmp_path}",
        "logger=csv",
    )
    both = [
        subprocess.Popen(command(*given), cwd=ROOT, env=environ(), stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=180)[1] for process in both]
    if sorted(process.returncode for process in both) == [0, 0]:
        pytest.skip("one had ended before the other began")
    assert sorted(process.returncode for process in both) == [0, 1]
    assert "is being written by another process" in said[0] + said[1]
    assert len(store.load_runs(tmp_path, "sample", "tiny")[0]) == 1
    assert len(store.read_csv(tmp_path / JOB / "metrics.csv")) == 40  # not mixed


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "steady")
    now, jumps = time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: now() + (-1) ** next(jumps) * 86400.0)
    with failing(3):
        run(tmp_path / "jumping")
    old = time.time() - 10 * 86400
    for path in (tmp_path / "jumping" / JOB).iterdir():
        os.utime(path, (old, old))
    assert run(tmp_path / "jumping")["status"] == "done"
    assert outcome(tmp_path / "jumping") == outcome(tmp_path / "steady")
    content = store.read_json(tmp_path / "jumping" / JOB / "run.json")
    assert content is not None and 0 < content["seconds"] < 600


def test_directories_moved_aside_in_the_same_second_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20000101-000000")
    for dropout in (0.1, 0.2, 0.3):
        run(tmp_path, f"method.dropout={dropout}", "trainer.max_epochs=1", "force=true")
    aside = sorted(path.name for path in (tmp_path / JOB).parent.glob("seed0.old-*"))
    assert aside[:2] == ["seed0.old-20000101-000000", "seed0.old-20000101-000000-2"]
    kept = [(tmp_path / JOB).with_name(name) for name in aside]
    assert sum((path / "run.json").exists() for path in kept) == 2  # every result is kept


def test_a_results_directory_moved_to_another_place_goes_on_there(tmp_path: Path) -> None:
    run(tmp_path / "here", "seed=1")
    with failing(5):
        run(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    with failing(2):  # epochs before the checkpoint are not trained again
        assert run(tmp_path / "there")["status"] == "done"
        assert run(tmp_path / "there", "seed=1")["status"] == "done"
    run(tmp_path / "whole")
    assert outcome(tmp_path / "there") == outcome(tmp_path / "whole")
    summary, failed = report.build("tiny", "sample", tmp_path / "there")
    assert not failed and summary["cost"]["seconds_total"] > 0
    assert not (tmp_path / "here").exists()


def test_nothing_is_unpickled_or_unpacked_from_outside() -> None:
    """Checkpoints are data, and archives are read member by member: neither can run code or leave its folder."""
    for path in [path for folder in ("fpi", "tasks", "scripts") for path in (ROOT / folder).rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for call in re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
            assert "weights_only=True" in call, f"{path}: {call}"
        forbidden = [r"extractall\(", r"(?<!\.)\.extract\(", r"\bpickle\.loads?\(", r"allow_pickle=True"]
        forbidden += [r"(?<!\.)\beval\(", r"\bunpack_archive\(", r"\bCIFAR10\("]  # torchvision's data set unpickles
        if path.name not in ("archives.py", "callbacks.py"):  # the latter reads its own checkpoints
            forbidden += [r"\bZipFile\(", r"\btarfile\b", r"\bgzip\.(open|decompress)"]
        for pattern in forbidden:
            found = [line for line in text.splitlines() if re.search(pattern, line)]
            assert not found, f"{path}: {found}"
