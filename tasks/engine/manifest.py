"""The manifest of all data sets: files with url, sha256 and size, licence and citation.

`data/manifest.yaml` is read with a closed set of keys, so that a misspelt one is an error and not a default.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import yaml

from tasks.engine.store import ROOT

MANIFEST = ROOT / "data" / "manifest.yaml"

T = TypeVar("T")


class DataError(RuntimeError):
    """Base of the errors about data; the message names the file, what was expected and the fix."""


class ManifestError(DataError):
    """The manifest is malformed or has no such entry."""


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
    unpacked: tuple[str, ...] = ()  # places of the first file of what an archive among `files` holds; looked for, too

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
            values = {"name": name, **entry, "files": files}
            lists = {key: tuple(values.get(key, ())) for key in ("files", "unpacked")}
            entries[name] = _build(Dataset, name, values | lists)
        return entries
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, ManifestError) as error:
        raise ManifestError(f"cannot read {manifest}: {error}") from error


def select(name: str, manifest: Path = MANIFEST) -> tuple[Dataset, tuple[DataFile, ...]]:
    """(data set, the files asked for) of a data set's name or of one file's path. Raises ManifestError for others."""
    entries = load_manifest(manifest)
    if name in entries:
        return entries[name], entries[name].files
    for dataset in entries.values():
        for file in dataset.files:
            if file.path == name:
                return dataset, (file,)
    raise ManifestError(f"no data '{name}' in {manifest}; it has: {', '.join(sorted(entries))}")


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
