"""tasks.engine.memory: freed blocks are used again without the system clearing their pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from tasks.engine.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def use():
    blocks = [torch.zeros(2**22) for _ in range(8)]  # 16 MiB each
for _ in range(4):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_large_blocks_are_kept() -> None:
    def faults(keep: bool) -> int:
        program = COUNT.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

    assert faults(keep=True) < 0.5 * faults(keep=False)  # how much is kept depends on where the blocks lie
