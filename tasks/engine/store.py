"""The results store: one directory a job, files that appear whole or not at all, and when two configs are the same."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Keys that do not change what a job computes, so that it can be skipped or resumed when they differ.
NOT_COMPARED = (
    *("results_dir", "logger", "force", "task.title", "task.items", "task.data_needed", "task.gpu_needed"),
    *(f"trainer.{key}" for key in ("threads", "progress", "accelerator", "devices", "checkpoint_seconds")),
)


@dataclass(frozen=True)
class Run:
    """A finished job: its directory, the content of run.json and the rows of metrics.csv (one an epoch)."""

    directory: Path
    run: dict[str, Any]
    metrics: list[dict[str, float]] = field(default_factory=list)

    @property
    def row(self) -> str:
        return str(self.run["row"])

    @property
    def protocol(self) -> str:
        return str(self.run["protocol"])

    @property
    def seed(self) -> int:
        return int(self.run["seed"])

    def metric(self, name: str) -> float:
        """The final value of a metric, nan if it is missing or was not finite."""
        value = self.run["metrics"].get(name)
        return math.nan if value is None else float(value)

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Epochs and values of a metric of metrics.csv, in the order of the epochs; epochs without it are left out."""
        points = [(row["epoch"], row[name]) for row in self.metrics if name in row]
        return [x for x, _ in points], [y for _, y in points]


def job_directory(results: Path, config: dict[str, Any]) -> Path:
    """<results>/<profile>/<task>/<row>/seed<k>; the honest protocol lies beside the paper's as <row>-honest."""
    row = config["row"] + ("-honest" if config["protocol"] == "honest" else "")
    return results / config["profile"] / config["task"]["name"] / row / f"seed{config['seed']}"


def results_root(results_dir: str | Path) -> Path:
    """`results_dir` as an absolute path; relative ones start at the repository root."""
    return ROOT / Path(results_dir).expanduser()


def record(task: str, profile: str) -> str:
    """The folder of a published record: the task's own, and one more for each profile beside `paper` and `sample`."""
    return task if profile in ("paper", "sample") else f"{task}-{profile}"


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole, or as it was before, whatever interrupts the write.

    Raises OSError naming `path` (for example when the disk is full); the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def keep_copy(path: Path, copy: Path) -> None:
    """Keep what `path` holds now under the name `copy`, replacing what is there; `path` stays. Nothing without `path`.

    A hard link, which takes neither time nor room until `path` is replaced; a file system without them keeps no copy.
    """
    temporary = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        os.link(path, temporary)
        os.replace(temporary, copy)


def remove_temporaries(directory: Path) -> None:
    """Remove what killed processes were writing there. Only for who holds the directory's lock."""
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """`content` as indented, strictly valid JSON (values that are not finite become null), atomically."""
    atomic_write(path, json.dumps(finite(content), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """`value` with every float that is not finite, at any depth, replaced by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """`rows` as CSV, atomically; the columns are all keys in order of appearance, a missing value is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers; empty cells are left out of their row."""
    with open(path, newline="") as file:
        return [{key: float(value) for key, value in row.items() if value != ""} for row in csv.DictReader(file)]


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; lists and empty dicts stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def compared(config: dict[str, Any]) -> dict[str, Any]:
    """The flat config without the keys of NOT_COMPARED."""
    ignored = tuple(f"{key}." for key in NOT_COMPARED)
    return {key: value for key, value in flatten(config).items() if not f"{key}.".startswith(ignored)}


def config_hash(config: dict[str, Any]) -> str:
    """16 hex digits that are equal for configs that compute the same."""
    text = json.dumps(compared(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines `key: old -> new` for every compared key that differs; `(none)` stands for a key that is not there."""
    before, after = compared(old), compared(new)
    keys = sorted(before.keys() | after.keys())
    pairs = [(key, before.get(key, "(none)"), after.get(key, "(none)")) for key in keys]
    return [f"{key}: {a} -> {b}" for key, a, b in pairs if a != b]


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file; None if it is missing or not valid JSON (then it was not written by us)."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[bool]:
    """Hold the directory's lock; yields False if another process has it. A killed process leaves it free."""
    with open(directory / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield True


def load_run(directory: Path, curves: bool = True) -> Run | None:
    """The finished job of a directory, None if there is none; without metrics.csv if no `curves` are wanted."""
    run = read_json(directory / "run.json")
    path = directory / "metrics.csv"
    return Run(directory, run, read_csv(path) if curves and path.exists() else []) if run else None


def load_runs(results: Path, profile: str, task: str, curves: bool = True) -> tuple[list[Run], list[dict[str, Any]]]:
    """All jobs of a task: the finished ones (by row, protocol, seed) and the content of failed.json of the others."""
    done, failed = [], []
    for directory in sorted((results / profile / task).glob("*/seed*")):
        if not re.fullmatch(r"seed\d+", directory.name):
            continue  # moved aside
        if run := load_run(directory, curves):
            done.append(run)
        elif failure := read_json(directory / "failed.json"):
            failed.append(failure)
    done.sort(key=lambda run: (run.row, run.protocol, run.seed))
    return done, failed


def data_label(runs: Sequence[Run]) -> str:
    """What the runs were trained and tested on."""
    return ", ".join(dict.fromkeys(str(run.run["data"]) for run in runs))
