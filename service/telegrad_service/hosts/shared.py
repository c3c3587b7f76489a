"""Memory that two processes can have: a large upload is received once, where it stays, instead of being sent on to its session.

An array of ``allocate`` lies in a file that has no name and no place on a disk. The file goes to the session's process as a
descriptor beside the request, is mapped there, and is freed when neither process needs it. Systems that cannot do this get plain
memory.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import socket
import sys
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LARGE_BYTES: Final = 2**25
"""Smaller arrays are received into memory that was used before, and sent on where their client was slow: 8 MB in 11 ms instead of
26, for the kernel clears each page of a file, and each is a fault here and one there. Larger ones would need their memory twice."""

MAX_DESCRIPTORS: Final = 64
"""Of one request; the kernel passes 253. What is beyond is sent."""


class _File(mmap.mmap):
    """A mapping that knows its descriptor."""

    descriptor: int

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.descriptor)


CAN_SHARE: Final = sys.platform == "linux" and hasattr(socket, "send_fds")
"""Whether descriptors can go to a session's process."""


def can_share(end: socket.socket) -> bool:
    """Whether descriptors can go over this socket."""
    return CAN_SHARE and end.family == socket.AF_UNIX


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array without values, which ``descriptor_of`` can name if it is large. Raises MemoryError."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < LARGE_BYTES or sys.platform != "linux":
        return np.empty(shape, dtype)
    try:
        descriptor = os.memfd_create("telegrad")
    except OSError:
        return np.empty(shape, dtype)  # there may be too many open files
    try:
        os.ftruncate(descriptor, nbytes)
        memory = _File(descriptor, nbytes)
    except (OSError, ValueError):
        os.close(descriptor)
        return np.empty(shape, dtype)
    memory.descriptor = descriptor
    return np.frombuffer(memory, dtype).reshape(shape)


def descriptor_of(array: Array) -> int | None:
    """The file that the array fills; None for an array in plain memory, or for a part of one."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, _File) and array.flags.c_contiguous and array.nbytes == len(owner):
        return owner.descriptor
    return None


def adopt(descriptor: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The array that fills a file which came from another process. Raises MemoryError where it cannot be mapped."""
    try:
        return np.frombuffer(mmap.mmap(descriptor, math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
    except (OSError, ValueError):
        raise MemoryError from None
