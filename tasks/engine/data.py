"""Where data come from and where they lie: the manifest, the look-up and the download.

`data/manifest.yaml` lists every data set with its files (url, sha256, size), licence and citation. Files are looked for
in the folder named by the environment variable FPI_DATA, then in `data/`, and are never used unless size and sha256 are
those of the manifest.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import yaml

DATA_DIR = Path(__file__).resolve().parents[2] / "data"
MANIFEST = DATA_DIR / "manifest.yaml"

T = TypeVar("T")


class DataError(RuntimeError):
    """Base of this module's errors; the message names the file, what was expected and the fix."""


class ManifestError(DataError):
    """The manifest is malformed or has no such entry."""


class DataNotFoundError(DataError):
    """A file is in none of the places searched, or is there with other bytes than the manifest's."""


class DataFetchError(DataError):
    """A download failed; nothing half-written was left behind."""


@dataclass(frozen=True)
class DataFile:
    path: str  # relative to the data folder
    url: str | None  # pinned to a commit; None: cannot be downloaded, only found through FPI_DATA
    sha256: str | None  # None: not published; then the task that reads the file verifies it
    size: int | None  # bytes


@dataclass(frozen=True)
class _Listing:
    """Many files of one folder: `listing`, a text file beside the manifest, has lines "sha256 size name"."""

    listing: str
    path: str  # of the folder
    url: str | None  # of the folder


@dataclass(frozen=True)
class Dataset:
    name: str
    title: str
    source: str
    licence: str
    terms: str
    citation: str
    files: tuple[DataFile, ...]

    @property
    def downloadable(self) -> bool:
        return all(file.url for file in self.files)

    @property
    def size(self) -> int | None:
        """Bytes of all files, None if one is not known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None


def load_manifest(manifest: Path = MANIFEST) -> dict[str, Dataset]:
    """All entries of a manifest by name. Raises ManifestError if it cannot be read or a key is missing or unknown."""
    try:
        content = yaml.safe_load(Path(manifest).read_text(encoding="utf-8"))
        entries = {}
        for name, entry in content.items():
            parts = [_files(manifest, f"{name}.files[{i}]", file) for i, file in enumerate(entry["files"])]
            files = [file for part in parts for file in part]
            entries[name] = _build(Dataset, name, {"name": name, **entry, "files": tuple(files)})
        return entries
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, ManifestError) as error:
        raise ManifestError(f"cannot read {manifest}: {error}") from error


def locate(name: str, *, manifest: Path = MANIFEST) -> Path:
    """The folder of a data set's first file ("bibtex") or the path of one file ("bibtex/bibtex-train.arff").

    Size and sha256 of every file asked for are verified (once per process and file). Raises DataNotFoundError, naming
    the places searched and the fix, or ManifestError if the manifest has no such name.
    """
    dataset, files = _select(name, manifest)
    problems: list[str] = []
    for place, label in search_places():
        found = [f"in {label}: {problem}" for file in files if (problem := _problem(place / file.path, file))]
        if not found:
            path = place / files[0].path
            return path if name == files[0].path else path.parent
        problems += found
    fix = f"set FPI_DATA to a folder that has {files[0].path}"
    fix = f"run `make data-{dataset.name}`, or {fix}" if dataset.downloadable else f"{fix} ({dataset.terms})"
    raise DataNotFoundError("\n  ".join([f"data '{name}' not found", *problems, f"Fix: {fix}."]))


def is_available(name: str, *, manifest: Path = MANIFEST) -> bool:
    """Whether `locate(name)` would succeed."""
    try:
        locate(name, manifest=manifest)
    except DataNotFoundError:
        return False
    return True


def search_places() -> Iterator[tuple[Path, str]]:
    """The folders searched, best first, each with the label that messages use."""
    if root := os.environ.get("FPI_DATA"):
        yield Path(root).expanduser(), f"FPI_DATA={root}"
    yield DATA_DIR, str(DATA_DIR)


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
    dataset, files = _select(name, manifest)
    targets = []
    for file in files:
        target = Path(destination) / file.path
        if _problem(target, file):
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
        if problem := _problem(part, file):
            # The server answered in full but with other bytes: asking again would not help.
            raise DataFetchError(
                f"refused {url}: it is not the file of the manifest, {problem}\n"
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


def _select(name: str, manifest: Path) -> tuple[Dataset, tuple[DataFile, ...]]:
    entries = load_manifest(manifest)
    if name in entries:
        return entries[name], entries[name].files
    for dataset in entries.values():
        for file in dataset.files:
            if file.path == name:
                return dataset, (file,)
    raise ManifestError(f"no data '{name}' in {manifest}; it has: {', '.join(sorted(entries))}")


def _problem(path: Path, file: DataFile) -> str | None:
    """What is wrong with the copy of `file` at `path`, or None."""
    try:
        stat = path.stat()
    except OSError:
        return f"{file.path} is missing"
    if file.size is not None and stat.st_size != file.size:
        return f"{file.path} has {stat.st_size:,} bytes, expected {file.size:,}"
    if file.sha256 is None:
        return None
    digest = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if digest != file.sha256:
        return f"{file.path} has sha256 {digest[:12]}..., expected {file.sha256[:12]}..."
    return None


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    # size and time are part of the key only: a file that changes is read again
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(manifest: Path, where: str, entry: dict[str, Any]) -> list[DataFile]:
    if "listing" not in entry:
        return [_build(DataFile, where, entry)]
    group = _build(_Listing, where, entry)
    lines = (Path(manifest).parent / group.listing).read_text(encoding="utf-8").splitlines()
    files = []
    for sha256, size, name in (line.split(maxsplit=2) for line in lines):
        url = None if group.url is None else f"{group.url}/{quote(name)}"
        files.append(DataFile(f"{group.path}/{name}", url, sha256, int(size)))
    return files


def _build(cls: type[T], where: str, values: dict[str, Any]) -> T:
    expected, given = {field.name for field in fields(cls)}, set(values)  # type: ignore[arg-type]
    if given != expected:
        raise ManifestError(
            f"{where}: missing keys {sorted(expected - given)}, unknown keys {sorted(given - expected)}"
        )
    return cls(**values)


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
