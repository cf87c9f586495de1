"""Archives from outside: what is damaged, leads elsewhere or would grow without bounds is refused before it is read."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from tasks.engine.archives import ArchiveError, Limits, open_zip, read_gzip, read_member, read_tar

MEGABYTE = 2**20
LIMITS = Limits(total=4 * MEGABYTE, files=3)
ESCAPES = ["../outside", "a/../../outside", "/outside", "..\\outside"]


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def noise(size: int) -> bytes:
    """Bytes that cannot be packed."""
    from random import Random

    return Random(0).randbytes(size)


def test_what_is_within_the_limits_is_read(tmp_path: Path) -> None:
    files = {"folder/a": b"one", "folder/b": noise(2 * MEGABYTE)}
    with open_zip(write_zip(tmp_path / "a.zip", files), LIMITS) as archive:
        assert {name: read_member(archive, name) for name in files} == files
    path = write_tar(tmp_path / "a.tar.gz", files)
    assert read_tar(path, ["a", "b"], LIMITS) == {"a": b"one", "b": files["folder/b"]}
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"12345"))
    assert read_gzip(tmp_path / "a.gz", 5) == b"12345"


@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="a.zip holds .*outside.*leads out of its folder.*Fix:"):
        open_zip(write_zip(tmp_path / "a.zip", {"fine": b"", name: b"x"}), LIMITS)
    with pytest.raises(ArchiveError, match="a.tar holds .*outside.*leads out of its folder"):
        read_tar(write_tar(tmp_path / "a.tar", {"fine": b"", name: b"x"}), ["fine"], LIMITS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({str(i): b"" for i in range(4)}, "more than the 3 files"),
        ({str(i): noise(2 * MEGABYTE) for i in range(3)}, "more than the 4,194,304 bytes"),
        ({"bomb": bytes(3 * MEGABYTE)}, "grows [0-9,]+-fold"),
    ],
    ids=["files", "total", "ratio"],
)
def test_more_than_the_limits_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(ArchiveError, match=f"a.zip .*{message}.*Fix:"):
        open_zip(write_zip(tmp_path / "a.zip", files), LIMITS)
    with pytest.raises(ArchiveError, match=f"a.tar .*{message}.*Fix:"):
        read_tar(write_tar(tmp_path / "a.tar", files), ["0"], LIMITS)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"wanted": bytes(3 * MEGABYTE)})
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:512]))  # the header alone says how much would follow
    with pytest.raises(ArchiveError, match="grows"):
        read_tar(path, ["wanted"], LIMITS)


def test_a_member_longer_than_its_table_says_is_damaged(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb": bytes(3 * MEGABYTE)})
    size = (3 * MEGABYTE).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    with open_zip(path, LIMITS) as archive, pytest.raises(ArchiveError, match="a.zip:bomb is damaged"):
        read_member(archive, "bomb")


def test_a_gzip_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(2000 * MEGABYTE // 100)))
    with pytest.raises(ArchiveError, match="more than the 1,000 bytes"):
        read_gzip(tmp_path / "a.gz", 1000)


def test_links_are_no_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("wanted")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(ArchiveError, match="lacks wanted"):
        read_tar(tmp_path / "a.tar", ["wanted"], LIMITS)


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar.gz", "a.gz"):
        (tmp_path / name).write_bytes(b"no archive at all")
    for kind, read in (
        ("zip", lambda: open_zip(tmp_path / "a.zip", LIMITS)),
        ("tar", lambda: read_tar(tmp_path / "a.tar.gz", [], LIMITS)),
        ("gzip", lambda: read_gzip(tmp_path / "a.gz", 1)),
    ):
        with pytest.raises(ArchiveError, match=f"not a whole {kind} file.*Fix: remove it"):
            read()
    path = write_tar(tmp_path / "b.tar.gz", {"wanted": noise(1000)})
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ArchiveError, match="not a whole tar file"):
        read_tar(path, ["wanted"], LIMITS)
