"""How the C library keeps the memory that a process has freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process use freed memory again and never give it back before it ends (with glibc, from 2.35 on).

    Each batch frees hundreds of megabytes that the next one asks for: given back, they are
    asked of the kernel again page by page, which takes up to a fifth of a batch's time.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    # glibc before 2.35 refuses so large a threshold: its own rule is then left as it is
    if hasattr(library, "gnu_get_libc_version") and library.mallopt(_MMAP_THRESHOLD, 1 << 30):  # bytes
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)  # bytes
