"""What a reproduction would run: every job of its sweeps, what is there of it, and how long it is expected to take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from tasks.engine import console, environment, store
from tasks.engine.config import resolve
from tasks.engine.estimate import Estimates, Measured, human


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its overrides and directory, `done`, `begun` or `new`, and its expected time."""

    overrides: tuple[str, ...]
    directory: Path
    state: str
    expected: Measured | None


def jobs(sweep: Sequence[str], results: Path, published: Path | None = None) -> tuple[list[Job], int]:
    """(every job of `scripts/train.py <sweep>`, jobs at a time). Raises ConfigError for a config that is not valid."""
    with initialize_config_dir(str(store.ROOT / "configs"), version_base="1.3"):
        parser = OverridesParser.create()
        parsed = parser.parse_overrides(list(sweep))
        fixed = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
        root = compose("train", fixed, return_hydra_config=True)
        params = dict(root.hydra.sweeper.params or {})
        swept = [one for one in parsed if one.is_sweep_override() or one.get_key_element() in params]
        of_config = parser.parse_overrides([f"{key}={value}" for key, value in params.items()])
        # as Hydra's own sweep: of the same key the last one counts
        lists = BasicSweeper.split_arguments(of_config + swept, max_batch_size=None)[0]
        found = []
        rows: dict[tuple[str, ...], tuple[Path, Measured | None]] = {}  # composing takes longer than all the rest
        estimates: dict[tuple[str, str], Estimates] = {}
        for overrides in lists:
            config_of = tuple(text for text in overrides if not text.startswith("seed="))
            seeds = [text.removeprefix("seed=") for text in overrides if text.startswith("seed=")]
            if config_of not in rows:
                config = resolve(compose("train", [*fixed, *overrides]))
                key = (config["task"]["name"], config["profile"])
                if key not in estimates:
                    estimates[key] = Estimates(*key, results, published)
                directory = store.job_directory(results, config)
                rows[config_of] = directory, estimates[key].of(directory.parent.name)
            directory, expected = rows[config_of]
            if seeds:
                directory = directory.with_name(f"seed{seeds[-1]}")
            found.append(Job(tuple(overrides), directory, _state(directory), expected))
    return found, _at_a_time(root)


def show(found: list[Job], at_a_time: int) -> None:
    """Print the jobs, a line a row of the table, with their times, and what they come to."""
    rows: dict[Path, list[Job]] = {}
    for job in found:
        rows.setdefault(job.directory.parent, []).append(job)
    lines = []
    for folder, same in rows.items():
        states = ", ".join(f"{seeds} {state}" for state, seeds in Counter(job.state for job in same).items())
        seeds = " ".join(job.directory.name.removeprefix("seed") for job in same)
        expected = same[0].expected
        time = ["–", "not measured"] if expected is None else [human(expected.seconds), expected.basis]
        lines.append(["/".join(folder.parts[-2:]), seeds, states, *time])
    console.table(["row", "seeds", "state", "a job", "from"], lines)
    left = [job for job in found if job.state != "done"]
    known = [job.expected for job in left if job.expected is not None]
    text = f"{len(found)} jobs, {len(found) - len(left)} done"
    if left:
        seconds = sum(measured.seconds for measured in known)
        side = min(at_a_time, len(left))
        longest = max((measured.seconds for measured in known), default=0.0)
        text += f", {len(left)} to run: "
        text += f"about {human(max(seconds / side, longest))}, {side} at a time" if known else "time not measured"
        if known and len(known) < len(left):
            text += f", and {len(left) - len(known)} jobs that were never measured"
        if hardware := list(dict.fromkeys(measured.hardware for measured in known)):
            text += f" (measured on {'; '.join(hardware)})"
    console.say(text, style="bold")


def _state(directory: Path) -> str:
    if store.read_json(directory / "run.json"):
        return "done"
    if (directory / "last.ckpt").exists():
        return "begun"
    return "failed" if (directory / "failed.json").exists() else "new"


def _at_a_time(config: DictConfig) -> int:
    """The launcher's jobs at a time: joblib's n_jobs (-1: one a core), Ray's by its cores (of this machine, unless
    init.num_cpus says more), 1 for the basic launcher, a cluster's many."""
    launcher = config.hydra.launcher
    cores = environment.cores()
    if "n_jobs" in launcher:
        return cores + 1 + launcher.n_jobs if launcher.n_jobs < 0 else max(1, launcher.n_jobs)
    if "remote" in launcher:
        return max(1, int((launcher.init.num_cpus or cores) / (launcher.remote.num_cpus or 1)))
    return launcher.get("array_parallelism") or 1
