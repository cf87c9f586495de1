"""A W&B server of a few lines: it takes runs, and can be told to fail in the ways a network does."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Failure = Literal["500", "slow"]


class Server:
    """Serves on a free port of this machine. `runs` are the ids in the order of their creation, `names` all queries.

    Every request fails while `failure` is set; with `fails_later` from the moment on that a run was created.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.fails_later: Failure | None = None
        self.runs: list[str] = []
        self.names: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if outer.failure == "slow":
                    outer.stopped.wait(60)
                if outer.failure:
                    self.send_error(500)
                    return
                answer = json.dumps(outer.answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        class Daemons(ThreadingHTTPServer):
            daemon_threads = True

        self.http = Daemons(("127.0.0.1", 0), Handler)
        self.stopped = threading.Event()
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if path != "/graphql":
            return {}
        content = json.loads(body)
        given = content.get("variables") or {}
        name = " ".join(content["query"].split("(")[0].split("{")[0].split()[-1:])
        self.names.append(name)
        if name == "UpsertBucket":
            run = given.get("name") or "run"
            if run not in self.runs:
                self.runs.append(run)
            self.failure = self.failure or self.fails_later
            project = {"name": given.get("project") or "fpi", "entity": {"name": "me"}}
            bucket = {"id": "1", "name": run, "displayName": run, "project": project, "historyLineCount": 0}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/file"} for file in given.get("files", [])]
            return {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
        return {"data": {"serverInfo": {"features": []}, "model": None}}


def until(condition: Any, seconds: float = 30.0) -> bool:
    """Whether `condition()` became true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())
