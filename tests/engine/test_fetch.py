"""Downloads, and the command, against a server on this machine."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from tasks.engine.fetch import DataFetchError, fetch
from tasks.engine.manifest import load_manifest
from tests.engine.data_files import GOOD, TRUNCATED, write_manifest
from tests.engine.data_files import manifest as manifest

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.fixture
def get(server: Server, manifest: Path, tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: fetch("bibtex", tmp_path / "data", base_url=server.url, pause=0.0, manifest=manifest)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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
    assert not (tmp_path / "data").exists()

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
    assert not (tmp_path / "data").exists()


def test_a_folder_that_was_there_stays(get: Callable[[], list[Path]], server: Server, tmp_path: Path) -> None:
    server.replies = [(404, b"", 0)]
    (tmp_path / "data").mkdir()
    with pytest.raises(DataFetchError):
        get()
    assert list(tmp_path.glob("data/**/*")) == [] and (tmp_path / "data").is_dir()


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
