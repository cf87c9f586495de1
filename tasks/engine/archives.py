"""Archives from outside: read member by member into memory, never unpacked to disk, and only within limits.

So no name in an archive can lead out of a folder, no pickle is loaded, and an archive that would grow without bounds is
refused before its content is.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from tasks.engine.data import DataNotFoundError


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Attributes:
        total: bytes of all its files, unpacked.
        files: number of its entries.
        ratio: unpacked over packed bytes, of a file and of the whole, where they unpack to more than a megabyte.
    """

    total: int
    files: int
    ratio: float = 100.0


AGAIN = "Fix: remove it and get it again (`make data-NAME`, or by hand: data/README.md)."


class ArchiveError(DataNotFoundError):
    """An archive that is damaged, or holds more than it may, or a name that leads elsewhere."""


def open_zip(path: Path, limits: Limits) -> ZipFile:
    """The open zip file, its table of contents checked; the caller closes it. Members are read with `read_member`.

    Raises:
        ArchiveError: it is no whole zip file, or what it states to hold is not within the limits.
    """
    try:
        archive = ZipFile(path)
    except (BadZipFile, NotImplementedError) as error:
        raise _damaged(path, "zip", error) from error
    tally = _Tally(path, limits)
    try:
        for entry in archive.infolist():
            tally.add(entry.filename, entry.file_size, entry.compress_size)
    except ArchiveError:
        archive.close()
        raise
    return archive


def read_member(archive: ZipFile, member: str | ZipInfo) -> bytes:
    """The bytes of a member: never more than the archive's table states, and with its checksum.

    Raises:
        ArchiveError: the member is damaged.
    """
    try:
        return archive.read(member)
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        name = member if isinstance(member, str) else member.filename
        raise ArchiveError(f"{archive.filename}:{name} is damaged: {error}") from error


def read_tar(path: Path, names: Iterable[str], limits: Limits) -> dict[str, bytes]:
    """The files of these base names of a tar archive, packed or not, whatever folder they are in.

    Raises:
        ArchiveError: it is damaged, lacks one of the files, or is not within the limits.
    """
    wanted, found, tally = set(names), {}, _Tally(path, limits)
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                tally.add(member.name, member.size)
                name = os.path.basename(member.name)
                if name in wanted and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None  # a file
                    found[name] = content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise _damaged(path, "tar", error) from error
    if missing := sorted(wanted - found.keys()):
        raise ArchiveError(f"{path} lacks {', '.join(missing)}. {AGAIN}")
    return found


def read_gzip(path: Path, limit: int) -> bytes:
    """The content of a gzip file of at most `limit` bytes.

    Raises:
        ArchiveError: it is damaged, or longer.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(limit + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise _damaged(path, "gzip", error) from error
    if len(content) > limit:
        raise ArchiveError(f"{path} unpacks to more than the {limit:,} bytes that are expected. {AGAIN}")
    return content


class _Tally:
    """The entries of an archive so far, held against the limits."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self.limits = path, limits
        self.packed = path.stat().st_size
        self.files = self.total = 0

    def add(self, name: str, size: int, packed: int | None = None) -> None:
        """An entry of `size` bytes; `packed` where its own packed size is known."""
        limits = self.limits
        self.files, self.total = self.files + 1, self.total + size
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            self._refuse(f"holds {name!r}, a path that leads out of its folder")
        if self.files > limits.files:
            self._refuse(f"holds more than the {limits.files:,} files that are expected")
        if self.total > limits.total:
            self._refuse(f"unpacks to more than the {limits.total:,} bytes that are expected")
        for grown, source in ((size, packed), (self.total, self.packed)):
            if source is not None and grown > max(limits.ratio * source, 2**20):
                times = grown / max(source, 1)
                self._refuse(f"grows {times:,.0f}-fold at {name!r} (expected: {limits.ratio:g} at most)")

    def _refuse(self, what: str) -> None:
        raise ArchiveError(f"{self.path} {what}. {AGAIN}")


def _damaged(path: Path, kind: str, error: Exception) -> ArchiveError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ArchiveError(f"{path} is not a whole {kind} file ({reason}). {AGAIN}")
