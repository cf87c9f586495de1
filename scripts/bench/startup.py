"""scripts/train.py with a clock: seconds from the start of its process to the first training step, by stage.

A child process of suite.py: `python scripts/bench/startup.py BEGUN OUT [overrides]`, with BEGUN = time.time() before it
was started, writes {stage: seconds} to the file OUT.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES = ("Python, Hydra and the config", "imports", "data and network", "W&B", "Lightning's set-up")


def main() -> None:
    begun, out = float(sys.argv[1]), Path(sys.argv[2])
    root = Path(__file__).resolve().parents[2]
    sys.argv = ["scripts/train.py", *sys.argv[3:]]
    sys.path[0] = str(root / "scripts")  # as if that script had been started
    marks = [begun]

    def mark() -> None:
        if len(marks) <= len(STAGES):
            marks.append(time.time())
        if len(marks) == len(STAGES) + 1:
            out.write_text(
                json.dumps(dict(zip(STAGES, [b - a for a, b in zip(marks, marks[1:], strict=False)], strict=True)))
            )

    from tasks.engine import config

    resolve = config.resolve

    def resolved(cfg: Any) -> dict[str, Any]:
        found = resolve(cfg)
        mark()
        config.resolve = resolve
        from tasks.engine import callbacks, job, tracking

        mark()
        tracking.Tracker.__init__ = between(tracking.Tracker.__init__)  # type: ignore[method-assign]
        callbacks.EpochSeed.on_train_batch_start = lambda *_: mark()  # type: ignore[method-assign]
        job.resolve = resolve
        return found

    def between(function: Callable[..., None]) -> Callable[..., None]:
        def marked(*args: Any, **kwargs: Any) -> None:
            mark()
            function(*args, **kwargs)
            mark()

        return marked

    config.resolve = resolved
    runpy.run_path(str(root / "scripts" / "train.py"), run_name="__main__")


if __name__ == "__main__":
    main()
