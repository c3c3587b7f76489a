"""Python imports this at its start where ``PYTHONPATH`` names the folder: a process then tells on SIGUSR2 how much it holds.

That is what is allocated and not freed, after garbage was collected: pages that an allocator keeps for later do not count. It needs
``PYTHONMALLOC=malloc``, so that glibc has all of it, and no caches of glibc's for the freed memory of each thread.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from pathlib import Path
from typing import Any


class _Usage(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    )


def _tell(*_: Any) -> None:
    gc.collect()
    usage = _usage()
    with Path(os.environ["ACCOUNTS"], str(os.getpid())).open("a") as file:
        file.write(f"{usage.uordblks + usage.hblkhd}\n")


if "ACCOUNTS" in os.environ:
    _usage = ctypes.CDLL(None).mallinfo2
    _usage.restype = _Usage
    signal.signal(signal.SIGUSR2, _tell)
