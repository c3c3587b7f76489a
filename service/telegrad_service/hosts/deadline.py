"""A deadline that is set and cancelled with every request: its timer is made once in its time, not once a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_CLOCK_SECONDS: Final = 0.001
"""The event loop's clock: a timer may be so much early."""


class Deadline:
    """Calls somebody when nobody has cancelled it in time. For the event loop's thread alone.

    A timer that finds that the deadline was moved meanwhile sleeps on until then; making one for each request, and taking it
    back, takes as long as sending the request.
    """

    __slots__ = ("_late", "_loop", "_seconds", "_timer", "_until")

    def __init__(self, seconds: float, late: Callable[[], object]) -> None:
        """Not set yet; ``late`` is called ``seconds`` after ``set`` was called last."""
        self._loop = asyncio.get_running_loop()
        self._seconds, self._late = seconds, late
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """From now on."""
        self._until = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def cancel(self) -> None:
        """There is none."""
        self._until = None

    def close(self) -> None:
        """Nobody will set it any more: forget who was to be called."""
        self._until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        left = self._until - self._loop.time()
        if left > _CLOCK_SECONDS:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._until = None
            self._late()
