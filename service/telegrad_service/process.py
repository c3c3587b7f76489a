"""How the process that computes treats memory: the collector's threshold, and what the C library does with freed memory.

Both concern the whole process, so there is an opt-out for servers and for local sessions: ``TELEGRAD_TUNE_PROCESS=false``.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any, Final

COLLECTOR_THRESHOLD: Final = (50_000, 20, 50)
"""A recorded graph is objects without cycles: at Python's own threshold the collector walks them again and again, and finds
nothing. Measured on a chain of 100,000 recorded ops: 2.6 µs an op instead of 6.2."""

_PYTHONS_OWN: Final = (700, 2000)
"""First thresholds of the Pythons that there are; any other was chosen by somebody, and stays."""

# The numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4

_TOP_PAD_BYTES: Final = 64 * 2**20
_KEEP_BYTES: Final = 2**31 - 1  # mallopt takes an int

_tuned: list[bool] = []
"""Whether the process was tuned, once that was decided."""


def _c_library() -> Any:
    """glibc, or None on a system with another C library."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def tune(wanted: bool = True) -> None:
    """Raise the collector's threshold and have glibc keep freed memory; what was decided first holds for the process.

    A large array that is freed goes back to the kernel by default, and its successor is paid for again, page by page: at
    10 million values that costs more than the arithmetic.
    """
    if _tuned:
        return
    _tuned.append(wanted)
    if not wanted:
        return
    if gc.get_threshold()[0] in _PYTHONS_OWN:
        gc.set_threshold(*COLLECTOR_THRESHOLD)
    library = _c_library()
    if library is not None:
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        library.mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def give_back() -> None:
    """Return memory that nobody uses to the kernel, where ``tune`` had it kept: for the end of a session."""
    library = _c_library() if _tuned and _tuned[0] else None
    if library is not None:
        library.malloc_trim(0)
