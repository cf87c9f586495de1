"""tasks.engine.memory: freed blocks are used again without the system clearing their pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from tasks.engine.memory import keep_freed_memory
assert keep_freed_memory()
def use():
    blocks = [torch.zeros(2**22) for _ in range(8)]  # 16 MiB each
for _ in range(4):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_blocks_are_kept() -> None:
    """Fresh pages for all blocks would be 32,768 faults; how many are spared depends on where the blocks lie."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 0.5 * 8 * 2**24 / 4096
