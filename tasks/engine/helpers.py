"""The further processes of a job with trainer.devices above 1: started with it, ended with it, heard when they fail.

The job's own process has rank 0: it holds the lock and writes everything. A helper gets the job's config as plain data,
trains its part of every batch (`tasks.engine.shards`), and writes nothing. It lives no longer than its standard input
is open, so that it ends with rank 0 however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import torch.distributed as dist

from tasks.engine.errors import HelperError

JOIN = timedelta(minutes=5)  # for all processes to have imported and built what they train
WAIT = timedelta(minutes=30)  # for each other, in one step of the training
LEAVE_SECONDS = 30.0  # for a helper to end after the last step
BLAME_SECONDS = 5.0  # for a helper to end after the connection to it broke


class Helpers:
    """A job's helpers, as a context: none for one device.

    An error inside the context that comes from a helper's end is replaced by a HelperError, which says how it ended.
    """

    def __init__(self, config: dict[str, Any], directory: Path) -> None:
        self.config, self.directory = config, directory
        self.count = int(config["trainer"]["devices"])
        self.processes: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        self.store: dist.TCPStore | None = None

    def __enter__(self) -> Helpers:
        if self.count > 1:
            self.store = dist.TCPStore(
                "127.0.0.1", 0, self.count, is_master=True, wait_for_workers=False, timeout=JOIN
            )  # port 0: any that is free
            job = {"config": self.config, "directory": str(self.directory), "port": self.store.port}
            for rank in range(1, self.count):
                self._start(job | {"rank": rank})
        return self

    def connect(self, backend: str) -> None:
        """Join all processes; nothing for one device. Raises HelperError if one of them has ended."""
        if self.store is None:
            return
        self.store.set("ready0", "")
        waiting = [f"ready{rank}" for rank in range(self.count)]
        deadline = time.monotonic() + JOIN.total_seconds()
        while not self.store.check(waiting):
            if ended := self._ended():
                raise ended
            if time.monotonic() > deadline:
                raise HelperError(f"the other processes did not join within {JOIN}")
            time.sleep(0.05)
        _join(self.store, backend, 0, self.count)

    def leave(self) -> None:
        """Part from the helpers, which have done what there was to do together."""
        self._end(LEAVE_SECONDS)

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            if error is not None and self.processes and _is_of_torch(error):
                deadline = time.monotonic() + BLAME_SECONDS
                while (ended := self._ended()) is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                if ended is not None:
                    raise ended from error
        finally:
            self._end(0.0)

    def _start(self, job: dict[str, Any]) -> None:
        said = tempfile.TemporaryFile()
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        self.processes.append((process, said))
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: `connect` says how
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()

    def _ended(self) -> HelperError | None:
        """How a helper that failed has ended, None if none has."""
        for rank, (process, said) in enumerate(self.processes, 1):
            status = process.poll()
            if not status:
                continue
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            last = [line.removeprefix(f"[rank{rank}]: ") for line in text.splitlines()[-1:]]
            error = HelperError(": ".join([f"process {rank + 1} of {self.count} {how}", *last]))
            error.add_note(text)
            return error
        return None

    def _end(self, seconds: float) -> None:
        if dist.is_initialized() and self.processes:
            dist.destroy_process_group()
        deadline = time.monotonic() + seconds
        for process, said in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()  # it holds nothing
            process.wait()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
            said.close()
        self.processes, self.store = [], None


def _join(store: dist.Store, backend: str, rank: int, count: int) -> None:
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=WAIT)


def _is_of_torch(error: BaseException) -> bool:
    """Whether an error may be that of a broken connection: those have torch's types, or none of their own."""
    return type(error) is RuntimeError or isinstance(error, dist.DistError)


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock a thread may not hold when the interpreter ends
        pass
    os._exit(1)


def main() -> None:
    """A helper: the job comes as a line of JSON on standard input, whose end is this process's."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # sent to all of a job's processes: rank 0 obeys
        signal.signal(one, signal.SIG_IGN)
    with os.fdopen(os.dup(0), "rb") as given:
        job = json.loads(given.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from tasks.engine.callbacks import resume_from
    from tasks.engine.training import Training

    directory, rank, count = Path(job["directory"]), job["rank"], job["config"]["trainer"]["devices"]
    training = Training(job["config"], directory, resume_from(directory)[0], rank=rank)
    store = dist.TCPStore("127.0.0.1", job["port"], count, is_master=False, timeout=JOIN)
    store.set(f"ready{rank}", "")
    _join(store, training.backend, rank, count)
    training.run()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
