"""Memory for the arrays that travel: of freed ones a few blocks are kept for the next.

A large array that is freed goes back to the kernel, which clears every page again for its successor. With arrays of 8 MB there and
back that is almost half of the client's processor time. ``telegrad_service.process`` has the C library keep freed memory, for
processes that compute; a process that only calls a server is its owner's, so that no more than these blocks is changed in it.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from telegrad import _defaults

Block = npt.NDArray[np.uint8]

_kept: deque[Block] = deque(maxlen=_defaults.KEPT_BLOCKS)  # its methods are atomic: finalizers run in any thread, at any moment


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array without values, whose memory may be used again once no array needs it. Raises MemoryError."""
    nbytes = math.prod(shape) * dtype.itemsize
    if not _defaults.SMALLEST_BLOCK_BYTES <= nbytes <= _defaults.LARGEST_BLOCK_BYTES:
        return np.empty(shape, dtype)
    block = _take(nbytes)
    # Of a type that can be referred to weakly: it goes when the last array does that shows any of it.
    memory: Any = (ctypes.c_ubyte * nbytes).from_buffer(block.data)
    weakref.finalize(memory, _kept.append, block).atexit = False
    return np.frombuffer(memory, dtype).reshape(shape)


def _take(nbytes: int) -> Block:
    """A block of at least so many bytes and little more: a kept one, that used last if there are several, or a new one."""
    for _ in range(len(_kept)):
        try:
            block = _kept.pop()
        except IndexError:  # another thread was faster
            break
        if nbytes <= block.nbytes <= nbytes + nbytes // 4:
            return block  # the processor's caches may still have it
        _kept.appendleft(block)
    return np.empty(nbytes, np.uint8)


def forget() -> None:
    """Give what is kept back."""
    _kept.clear()
