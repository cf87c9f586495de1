"""Downloads of the manifest's files: whole and verified, or not there at all."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tasks.engine.data import DATA_DIR, problem
from tasks.engine.manifest import MANIFEST, DataError, DataFile, select


class DataFetchError(DataError):
    """A download failed; nothing half-written was left behind, and no folder that it made."""


def fetch(
    name: str,
    destination: Path = DATA_DIR,
    *,
    base_url: str | None = None,
    attempts: int = 3,
    pause: float = 2.0,
    timeout: float = 30.0,
    manifest: Path = MANIFEST,
) -> list[Path]:
    """Download the files of a data set below `destination` and return their paths; good files are kept as they are.

    A file appears under its name only when complete and verified. Broken connections and server errors are tried again
    (`attempts` in all, after `pause`, 2 `pause`, ... seconds; `timeout` seconds of silence count as broken); everything
    else raises DataFetchError at once. `base_url` replaces scheme and host of every url (a mirror).
    """
    dataset, files = select(name, manifest)
    targets = []
    for file in files:
        target = Path(destination) / file.path
        if problem(target, file):
            if file.url is None:
                raise DataFetchError(
                    f"{file.path} cannot be downloaded ({dataset.terms})\n  Fix: set FPI_DATA to a folder that has it."
                )
            url = file.url if base_url is None else base_url.rstrip("/") + urlsplit(file.url).path
            _download(url, target, file, attempts, pause, timeout)
        targets.append(target)
    return targets


def _download(url: str, target: Path, file: DataFile, attempts: int, pause: float, timeout: float) -> None:
    import pooch  # here, because looking data up (every job) needs neither
    import requests

    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=timeout)
    part = target.with_name(target.name + ".part")  # a fixed name: the next try overwrites what a kill left
    created = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, attempts + 1):
            try:
                download(url, str(part), None)
                if file.size is not None and part.stat().st_size < file.size:
                    raise requests.ConnectionError("connection closed before the end of the file")
                break
            except requests.RequestException as error:
                status = None if error.response is None else error.response.status_code
                if attempt == attempts or (status is not None and status < 500):
                    raise DataFetchError(
                        f"could not download {url} (attempt {attempt} of {attempts}): {_reason(error)}\n"
                        f"  Fix: try again with a network that reaches it, or put the file at {target} by hand."
                    ) from error
                time.sleep(pause * attempt)
        if wrong := problem(part, file):
            # The server answered in full but with other bytes: asking again would not help.
            raise DataFetchError(
                f"refused {url}: it is not the file of the manifest, {wrong}\n"
                "  Fix: a proxy or mirror may have changed it; try another network. Nothing was kept."
            )
        os.replace(part, target)
    except OSError as error:
        raise DataFetchError(
            f"cannot write {target} ({_bytes(file.size)}): {error.strerror or error}\n"
            "  Fix: free disk space, or choose another data folder."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()
        with suppress(OSError):  # of the file that is there now
            for folder in created:
                folder.rmdir()


def _bytes(size: int | None) -> str:
    return "size not known" if size is None else f"{size:,} bytes"


def _reason(error: Exception) -> str:
    """The cause in a few words, without the request library's object dumps."""
    text = str(error)
    known = {
        "Connection refused": "connection refused",
        "NameResolution": "host name not found (no network?)",
        "IncompleteRead": "connection closed before the end of the file",
        "timed out": "no answer in time",
    }
    return next((words for sign, words in known.items() if sign in text), text)
