"""Asked to stop (SIGTERM, SIGUSR1): the epoch is finished and saved, the job ends, and Slurm queues it again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.engine import console

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # what Slurm and most clouds send before they take the machine away


class Preempted(SystemExit):
    """A job ended on request with everything saved; the exit status is 128 + the signal's number, as in a shell."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.name = signal.Signals(signum).name


@dataclass
class Request:
    """Whether a stop was asked for, and by which signal. `signals`: those that are listened to."""

    signals: tuple[signal.Signals, ...] = ()
    signum: int | None = None

    def listen(self) -> None:
        """Set the handlers; once more where something else has set its own since."""
        for one in self.signals:
            signal.signal(one, self._note)

    def obey(self) -> None:
        """Raise Preempted if a stop was asked for. To be called where nothing is half done."""
        if self.signum is not None:
            signum, self.signum = self.signum, None
            raise Preempted(signum)

    def _note(self, signum: int, _: object) -> None:
        self.signum = signum
        console.say(f"{signal.Signals(signum).name}: stopping at the end of this epoch")


class Deaf(Request):
    """Of a helper of the job: signals that are sent to all of its processes are for the first of them."""

    def listen(self) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)


_unobeyed = Request()  # of the job before, in this process


@contextmanager
def listening() -> Iterator[Request]:
    """Catch SIGNALS while a job runs. Handlers of others (a launcher that queues again by itself) are left alone.

    What comes after a job's last chance to obey stands for the next job of the process: a sweep does not go on.
    """
    main = threading.current_thread() is threading.main_thread()
    signals = tuple(one for one in SIGNALS if main and signal.getsignal(one) == signal.SIG_DFL)
    request = Request(signals, _unobeyed.signum)
    request.listen()
    try:
        yield request
    finally:
        _unobeyed.signum = request.signum
        for one in request.signals:
            signal.signal(one, signal.SIG_DFL)


def queue_again() -> None:
    """Ask Slurm to run this job again from the start of its script: finished jobs are skipped, this one goes on."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None or shutil.which("scontrol") is None:
        return
    done = subprocess.run(["scontrol", "requeue", number], check=False, capture_output=True, text=True, timeout=60)
    console.say(
        f"Slurm job {number} " + ("queued again" if done.returncode == 0 else f"not queued: {done.stderr.strip()}")
    )
