"""The core against bare loops and its peers (torchdeq, jaxopt, optimistix), in one run, on the CPU.

    python scripts/bench/core.py                                        # table
    python scripts/bench/core.py --json FILE --plot FILE.png --cases a d

Measured, all contestants taking turns and the least of the repeats counting:

1. overhead: a fixed number of iterations, the layer over a bare loop, forward and backward;
2. time to the same true residual ‖g(x) − x‖ / ‖x‖ (largest over the samples), 1e-2 ... 1e-6, float32 (for an
   energy also its relative excess over the minimum must be below, since residuals vanish on plateaus); beside it one
   evaluation of g in torch and in XLA, since that ratio is the matrix library's doing and no solver's;
3. time to a parameter gradient within 1e-4 of a float64 reference, forward and backward together;
4. with a hard sample in the batch, what it saves that converged samples leave the working batch;
5. memory of 100 and of 10,000 iterations.

JAX functions are compiled beforehand; ``compile_seconds`` says how long that took.  Peers that are not installed
(`make setup-bench` installs them) are left out and named under ``skipped``.  One core is used unless ``--threads``
says otherwise: the process is bound to that many cores, which holds for XLA as well.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common import Row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--plot", metavar="PNG", help="draw time against residual to PNG, and to an SVG beside it")
    parser.add_argument("--cases", nargs="+", choices=list("abcd"), default=list("abcd"), help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of every measurement")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    pin(options.threads)
    import report  # only now: torch, numpy and XLA make their threads when they are imported

    started, used = time.perf_counter(), time.process_time()

    def publish(rows: list[Row], more: dict[str, Any], final: bool) -> None:
        seconds = time.perf_counter() - started
        more["cores_used"] = round((time.process_time() - used) / seconds, 2)
        report.publish(rows, more, options, seconds, final)

    rows, more = report.measure(options.cases, options.repeats, lambda rows, more: publish(rows, more, False))
    publish(rows, more, True)


def pin(threads: int) -> None:
    """Bind this process, and every thread that it makes from now on, to ``threads`` cores."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):  # Linux; elsewhere the variables above must do
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    if sys.platform == "linux":
        # glibc gives large freed blocks back to the kernel or keeps them, depending on what lies above them: the same
        # convolution then takes 2 or 10 ms.  Keep them, as XLA does.
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            m_trim_threshold, m_mmap_threshold = -1, -3
            libc.mallopt(m_mmap_threshold, 32 << 20)
            libc.mallopt(m_trim_threshold, 2**31 - 1)


if __name__ == "__main__":
    main()
