"""Memory of processes that run for weeks."""

import ctypes
import sys
from contextlib import suppress

ARENAS, LARGE = -8, -3  # M_ARENA_MAX and M_MMAP_THRESHOLD of mallopt(3)


def keep_flat() -> None:
    """Have freed memory go back to the system; to be called before threads start. Does nothing where the C library isn't glibc.

    By itself glibc gives each thread a heap of its own, and puts ever larger blocks on these heaps, where they leave gaps. With
    two heaps, and blocks from 1 MB mapped one by one, a process stays as large as what it uses.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(ARENAS, 2)
            library.mallopt(LARGE, 2**20)
