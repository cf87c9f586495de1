"""Reads the .wandb file of an offline run back: everything that an upload would send."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as records
from wandb.sdk.internal.datastore import DataStore


class Offline:
    """The run, its config, history rows (nested keys joined by dots), summary, defined metrics and files.

    `raw` is the file's text, to search it for what must not be there.
    """

    def __init__(self, path: Path) -> None:
        self.folder, self.raw = path.parent, path.read_bytes()
        self.run: Any = None
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.step_metrics: dict[str, str] = {}
        self.exit_code: int | None = None
        store = DataStore()
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            record = records.Record()
            record.ParseFromString(data)
            self._take(record)

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self.config |= _items(record.run.config.update)
        elif kind == "config":
            self.config |= _items(record.config.update)
        elif kind == "history":
            self.history.append(_items(record.history.item))
        elif kind == "summary":
            self.summary |= _items(record.summary.update)
        elif kind == "metric":
            self.step_metrics[record.metric.glob_name or record.metric.name] = record.metric.step_metric
        elif kind == "exit":
            self.exit_code = record.exit.exit_code

    def logged(self, name: str) -> list[Any]:
        """The values of a metric in the order they were logged."""
        return [row[name] for row in self.history if name in row]

    def media(self, title: str) -> Path:
        """The file of a logged image or table."""
        (path,) = self.logged(f"{title}.path")
        return self.folder / "files" / path


def offline_runs(job: Path) -> list[Offline]:
    """The offline runs of a job in start order, once W&B's service has written their ends."""
    deadline = time.monotonic() + 30
    while True:
        runs = [Offline(path) for path in sorted(job.glob("wandb/offline-run-*/run-*.wandb"))]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > deadline:
            return runs
        time.sleep(0.1)


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
