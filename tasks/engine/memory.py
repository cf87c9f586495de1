"""The C library's heap, told to keep what is freed."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST = 32 * 2**20  # bytes; glibc refuses a higher threshold, larger blocks always come from the system


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep freed blocks of up to 32 MiB for the next allocation, for the rest of the process.

    By default blocks above some megabytes go back to the system and come back page by page: on images, clearing pages
    then takes longer than the arithmetic.  Does nothing on another C library.

    Returns:
        Whether the library has accepted it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
