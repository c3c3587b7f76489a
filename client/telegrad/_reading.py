"""Reading values: each once until something changes; numbers that programs gave out together.

A training loop keeps its losses and looks at them now and then. Each would cost a round trip; the first one that is read brings the
others with it.
"""

# Handles and the recorder are one unit.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING

from telegrad import _defaults
from telegrad._queue import Reply

if TYPE_CHECKING:
    from telegrad._handle import Handle

Asked = list[tuple["Handle", Reply]]


class Numbers:
    """The 0-d tensors that programs gave out last and nobody has read."""

    def __init__(self) -> None:
        self._given: deque[weakref.ref[Handle]] = deque(maxlen=_defaults.READ_AHEAD)

    def give(self, handle: Handle) -> None:
        """One more."""
        self._given.append(weakref.ref(handle))

    def others(self, handle: Handle) -> list[Handle]:
        """Those that are worth asking for together with ``handle``: each once, and none with a tensor that is no such number."""
        alive = [known for reference in self._given if (known := reference()) is not None]
        if all(known is not handle for known in alive):
            return []
        self._given.clear()
        return [known for known in alive if known is not handle]


def ask(handle: Handle) -> Asked:
    """Record the reads for a handle's value, its own last; none where the value is known."""
    home, extra = handle._home, handle.extra()
    if extra.value is not None and extra.writes == home.writes and not home.shared:
        return []
    asked: Asked = []
    if not home.shared and home.gathers:
        others = [other for other in home.numbers.others(handle) if other._name not in home.failed]
        asked = [(other, home.read(other._name, "value", other._spec)) for other in others]
    asked.append((handle, home.read(handle._name, "value", handle._spec)))
    return asked


def take(asked: Asked, writes: int) -> None:
    """Keep what came, as of the recorder's ``writes``. Raises the error of the last read; those ahead of it nobody asked for."""
    *ahead, last = asked
    for handle, reply in (*[(h, r) for h, r in ahead if r.result is not None], last):
        description = reply.take()["tensor"]
        handle.learn(description)
        extra = handle.extra()
        extra.value, extra.writes = reply.array, writes
