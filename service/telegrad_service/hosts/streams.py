"""The body of a large answer on its way from the session's process to the client: never more of it here than a few pieces."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

PIECE_BYTES: Final = 2**20
_MOST_PIECES: Final = 4
"""Received and not yet taken; the sender waits beyond that."""


class StalledError(Exception):
    """The rest of the body will not come: its taker waited too long, or its sender is gone."""


class Stream:
    """Takes a body as it arrives (``room``, ``arrived``), and gives it away in pieces (``async for``).

    Attributes:
        done: set when the last byte has arrived, or the sender is gone.
    """

    def __init__(self, nbytes: int, pause: Callable[[], object], resume: Callable[[], object], stall_seconds: float) -> None:
        """Expect so many bytes.

        Args:
            nbytes: length of the body.
            pause: lets the sender wait.
            resume: lets him go on.
            stall_seconds: who takes nothing for so long gets nothing more: others wait for the sender.
        """
        self.done = asyncio.Event()
        self._missing = nbytes
        self._pause = pause
        self._resume = resume
        self._pieces: deque[memoryview] = deque()
        self._piece = bytearray(min(PIECE_BYTES, nbytes))
        self._filled = 0
        self._news = asyncio.Event()
        self._dropped = False
        self._paused = False
        self._stall_seconds = stall_seconds
        self._loop = asyncio.get_running_loop()
        self._stalled = self._loop.call_later(stall_seconds, self.drop)

    # The sender's side -------------------------------------------------------------------------------------------------------

    def room(self) -> memoryview:
        """Where the next bytes belong."""
        return memoryview(self._piece)[self._filled :]

    def arrived(self, count: int) -> None:
        """So many bytes were put into ``room``."""
        self._filled += count
        if self._filled < len(self._piece):
            return
        self._missing -= self._filled
        if not self._dropped:
            self._pieces.append(memoryview(self._piece))
            self._piece = bytearray(min(PIECE_BYTES, self._missing))
        else:
            self._piece = bytearray(min(len(self._piece), self._missing))
        self._filled = 0
        self._news.set()
        if not self._missing:
            self.done.set()
        elif len(self._pieces) >= _MOST_PIECES:
            self._paused = True
            self._pause()

    def broken(self) -> None:
        """The sender is gone."""
        if self._missing:
            self._dropped = True
        self.done.set()
        self._news.set()

    # The taker's side --------------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Nobody wants the rest: it is still received, to no avail."""
        self._dropped = True
        self._pieces.clear()
        self._stalled.cancel()
        self._news.set()
        self._go_on()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> memoryview:
        """The next piece. Raises StalledError where it will not come."""
        while not self._pieces:
            if self._dropped:
                raise StalledError
            if not self._missing:
                self._stalled.cancel()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        self._stalled.cancel()
        self._stalled = self._loop.call_later(self._stall_seconds, self.drop)
        piece = self._pieces.popleft()
        self._go_on()
        return piece

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()
