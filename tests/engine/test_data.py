"""Manifest, look-up and download, the latter against a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest
import yaml

from tasks.engine import data
from tasks.engine.data import DataFetchError, DataNotFoundError, ManifestError, fetch, load_manifest, locate

ROOT = Path(__file__).resolve().parents[2]
GOOD = b"@relation bibtex\n" * 4000
TRUNCATED = GOOD[: len(GOOD) // 2]


class Server(ThreadingHTTPServer):
    """Serves `replies` one after the other (the last one for ever) and counts the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[tuple[int, bytes, int]] = [(200, GOOD, len(GOOD))]  # status, body, stated length
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        status, body, length = self.server.replies[min(len(self.server.paths), len(self.server.replies)) - 1]
        self.send_response(status)
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def write_manifest(path: Path, **changes: object) -> Path:
    file = {
        "path": "bibtex/train.arff",
        "url": "https://raw.example.org/owner/repo/0123abc/train.arff",
        "sha256": hashlib.sha256(GOOD).hexdigest(),
        "size": len(GOOD),
    }
    entry = {"title": "t", "source": "s", "licence": "l", "terms": "on request only", "citation": "c"}
    path.write_text(yaml.safe_dump({"bibtex": {**entry, "files": [{**file, **changes}]}}))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.yaml")


@pytest.fixture
def get(server: Server, manifest: Path, tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: fetch("bibtex", tmp_path / "data", base_url=server.url, pause=0.0, manifest=manifest)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# download


def test_good_download_and_no_second_request(get: Callable[[], list[Path]], server: Server, tmp_path: Path) -> None:
    (path,) = get()
    assert path == tmp_path / "data/bibtex/train.arff" and path.read_bytes() == GOOD
    assert get() == [path]
    assert server.paths == ["/owner/repo/0123abc/train.arff"]
    assert files_in(tmp_path / "data") == ["bibtex/train.arff"]


@pytest.mark.parametrize(
    ("reply", "message", "requests"),
    [
        ((200, TRUNCATED, len(GOOD)), "closed before the end", 3),
        ((200, TRUNCATED, -1), "closed before the end", 3),
        ((200, GOOD[:-1] + b"?", len(GOOD)), "refused .* expected", 1),
        ((200, GOOD + b"more", len(GOOD) + 4), "refused .* bytes, expected 68,000", 1),
        ((404, b"no such file", 12), "404", 1),
        ((503, b"later", 5), "503", 3),
    ],
    ids=["truncated", "truncated-length-unstated", "wrong-hash", "too-long", "404", "503"],
)
def test_bad_reply_is_refused_and_leaves_nothing(
    get: Callable[[], list[Path]],
    server: Server,
    tmp_path: Path,
    reply: tuple[int, bytes, int],
    message: str,
    requests: int,
) -> None:
    server.replies = [reply]
    with pytest.raises(DataFetchError, match=message) as caught:
        get()
    assert "train.arff" in str(caught.value) and "Fix:" in str(caught.value)
    assert len(server.paths) == requests
    assert files_in(tmp_path / "data") == []

    server.replies = [(200, GOOD, len(GOOD))]  # the next call starts afresh
    assert get()[0].read_bytes() == GOOD
    assert files_in(tmp_path / "data") == ["bibtex/train.arff"]


def test_a_passing_failure_is_retried(get: Callable[[], list[Path]], server: Server) -> None:
    server.replies = [(200, TRUNCATED, len(GOOD)), (500, b"", 0), (200, GOOD, len(GOOD))]
    assert get()[0].read_bytes() == GOOD
    assert len(server.paths) == 3


def test_no_network(manifest: Path, server: Server, tmp_path: Path) -> None:
    closed = Server()
    closed.server_close()
    with pytest.raises(DataFetchError, match="connection refused") as caught:
        fetch("bibtex", tmp_path / "data", base_url=closed.url, attempts=2, pause=0.0, manifest=manifest)
    assert str(tmp_path / "data/bibtex/train.arff") in str(caught.value)
    assert files_in(tmp_path / "data") == []


def test_leftover_of_a_killed_download_is_replaced(get: Callable[[], list[Path]], tmp_path: Path) -> None:
    part = tmp_path / "data/bibtex/train.arff.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(GOOD * 2)
    assert get()[0].read_bytes() == GOOD
    assert files_in(tmp_path / "data") == ["bibtex/train.arff"]


def test_damaged_file_is_downloaded_again_and_kept_if_that_fails(
    get: Callable[[], list[Path]], server: Server, tmp_path: Path
) -> None:
    target = tmp_path / "data/bibtex/train.arff"
    target.parent.mkdir(parents=True)
    target.write_bytes(TRUNCATED)
    server.replies = [(404, b"", 0)]
    with pytest.raises(DataFetchError):
        get()
    assert target.read_bytes() == TRUNCATED
    server.replies = [(200, GOOD, len(GOOD))]
    assert get()[0].read_bytes() == GOOD


def test_full_disk(get: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write_half(self: object, url: str, output: str, pooch: object) -> None:
        Path(output).write_bytes(TRUNCATED)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", write_half)
    with pytest.raises(DataFetchError, match=r"cannot write .*train\.arff.*No space left on device"):
        get()
    assert files_in(tmp_path / "data") == []


def test_destination_that_cannot_be_a_folder(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataFetchError, match="cannot write"):
        fetch("bibtex", tmp_path / "data", manifest=manifest)


def test_file_without_url_cannot_be_fetched(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest.yaml", url=None)
    with pytest.raises(DataFetchError, match="cannot be downloaded .*on request only"):
        fetch("bibtex", tmp_path / "data", manifest=manifest)


# look-up


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """FPI_DATA and data/, both empty folders of this test."""
    first, second = tmp_path / "mine", tmp_path / "data"
    monkeypatch.setenv("FPI_DATA", str(first))
    monkeypatch.setattr(data, "DATA_DIR", second)
    for place in (first, second):
        (place / "bibtex").mkdir(parents=True)
    return first, second


def test_locate_prefers_fpi_data(places: tuple[Path, Path], manifest: Path) -> None:
    mine, project = places
    (project / "bibtex/train.arff").write_bytes(GOOD)
    assert locate("bibtex", manifest=manifest) == project / "bibtex"
    (mine / "bibtex/train.arff").write_bytes(GOOD)
    assert locate("bibtex", manifest=manifest) == mine / "bibtex"
    assert locate("bibtex/train.arff", manifest=manifest) == mine / "bibtex/train.arff"


def test_locate_names_file_places_and_fix(places: tuple[Path, Path], manifest: Path) -> None:
    assert not data.is_available("bibtex", manifest=manifest)
    with pytest.raises(DataNotFoundError) as caught:
        locate("bibtex", manifest=manifest)
    for part in ("bibtex/train.arff", f"FPI_DATA={places[0]}", str(places[1]), "make data-bibtex", "set FPI_DATA"):
        assert part in str(caught.value)


def test_locate_offers_no_download_where_there_is_none(places: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="on request only") as caught:
        locate("bibtex", manifest=write_manifest(tmp_path / "manifest.yaml", url=None))
    assert "make data" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(TRUNCATED, "34,000 bytes, expected 68,000"), (GOOD[:-1] + b"?", "has sha256")]
)
def test_locate_refuses_damaged_files(places: tuple[Path, Path], manifest: Path, content: bytes, message: str) -> None:
    (places[0] / "bibtex/train.arff").write_bytes(content)
    with pytest.raises(DataNotFoundError, match=message):
        locate("bibtex", manifest=manifest)


def test_file_that_changes_is_verified_again(places: tuple[Path, Path], manifest: Path) -> None:
    path = places[0] / "bibtex/train.arff"
    path.write_bytes(GOOD)
    assert data.is_available("bibtex", manifest=manifest)
    path.write_bytes(GOOD[:-1] + b"?")
    assert not data.is_available("bibtex", manifest=manifest)


# manifest


def test_unknown_name_lists_the_known(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="no data 'mnist' .* bibtex"):
        locate("mnist", manifest=manifest)


def test_malformed_manifest_names_file_and_key(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "manifest.yaml", colour="red")
    with pytest.raises(ManifestError, match=r"manifest\.yaml: bibtex\.files\[0\].*unknown keys \['colour'\]"):
        load_manifest(path)
    path.write_text("bibtex: [")
    with pytest.raises(ManifestError, match=r"manifest\.yaml"):
        load_manifest(path)


def test_the_project_manifest_is_pinned_and_complete() -> None:
    manifest = load_manifest()
    assert {"bibtex", "bibtex-authors", "train400", "bsdsval100", "flyingchairs"} <= set(manifest)
    assert len(manifest["train400"].files) == 480
    for dataset in manifest.values():
        assert dataset.files and dataset.licence and dataset.terms and dataset.citation
        for file in dataset.files:
            if file.sha256 is None:
                assert "no checksum" in dataset.terms  # its authors publish none, and say so
                continue
            assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size is not None and file.size > 0
            assert not Path(file.path).is_absolute() and ".." not in file.path
            if file.url is not None and "github" in file.url:
                # a commit or a release; elsewhere the digest alone says that it is the same file
                assert re.match("https://.*/([0-9a-f]{40}|releases/download)/", file.url), f"{file.url} is not pinned"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder"),
    [("bibtex", "bibtex"), ("bibtex-authors", "bibtex"), ("train400", "denoising/train400")],
)
def test_the_real_files_are_those_of_the_manifest(fpi_data: Path, name: str, folder: str) -> None:
    assert locate(name) == fpi_data / folder


def test_a_listing_stands_for_the_files_of_a_folder(tmp_path: Path) -> None:
    content = b"image"
    (tmp_path / "list.txt").write_text(f"{hashlib.sha256(content).hexdigest()} 5 a b.png\n", encoding="utf-8")
    entry = "title: t\n  source: s\n  licence: l\n  terms: t\n  citation: c\n  files:"
    listed = "\n    - {listing: list.txt, path: set/images, url: 'https://host/folder'}\n"
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(f"set:\n  {entry}{listed}", encoding="utf-8")
    dataset = load_manifest(manifest)["set"]
    (file,) = dataset.files
    assert (file.path, file.url) == ("set/images/a b.png", "https://host/folder/a%20b.png")
    assert dataset.size == file.size == 5
    (tmp_path / "list.txt").write_text("no listing\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="manifest.yaml"):
        load_manifest(manifest)


def test_a_file_without_a_checksum_only_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="make data-flyingchairs"):
        locate("flyingchairs")
    (tmp_path / "flyingchairs").mkdir()
    (tmp_path / "flyingchairs" / "FlyingChairs.zip").write_bytes(b"whatever")
    assert locate("flyingchairs") == tmp_path / "flyingchairs"


# command


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/data.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_command_fails_in_one_clean_line(server: Server, tmp_path: Path) -> None:
    server.replies = [(404, b"", 0)]
    for arguments in (["bibtex", "--to", str(tmp_path), "--mirror", server.url], ["no-such-data"]):
        done = run_script(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.data
def test_command_downloads_and_shows_the_licence(server: Server, tmp_path: Path, fpi_data: Path) -> None:
    contents = [(fpi_data / file.path).read_bytes() for file in load_manifest()["bibtex"].files]
    server.replies = [(200, content, len(content)) for content in contents]
    done = run_script("bibtex", "--to", str(tmp_path), "--mirror", server.url)
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path) == ["bibtex/bibtex-test.arff", "bibtex/bibtex-train.arff"]
    assert str(tmp_path / "bibtex/bibtex-train.arff") in done.stdout and "licence: none stated" in done.stdout
