"""The body of a large answer on its way from the session's process to the client: never more of it here than a few pieces.

The session's process waits until it is told where the body goes: to the server, piece by piece, or straight to the client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from telegrad_service.hosts.lending import Outlet

HERE: Final = Outlet(None, 0.0, 0.0)
"""To the server, in pieces."""

PIECE_BYTES: Final = 2**20
_MOST_PIECES: Final = 4
"""Received and not yet taken; the sender waits beyond that."""


class StalledError(Exception):
    """The rest of the body will not come: its taker waited too long, or its sender is gone."""


class Stream:
    """Takes a body as it arrives (``room``, ``arrived``), and gives it away in pieces (``async for``), or lets it go past.

    Attributes:
        done: set when the last byte has arrived or went past, or the sender is gone.
        arrives: whether bytes of the body are the next that come.
    """

    def __init__(
        self,
        nbytes: int,
        begin: Callable[[Outlet | None], object],
        pause: Callable[[], object],
        resume: Callable[[], object],
        stall_seconds: float,
    ) -> None:
        """Expect so many bytes.

        Args:
            nbytes: length of the body.
            begin: tells the sender where the body goes; None: nobody wants it.
            pause: lets the sender wait.
            resume: lets him go on.
            stall_seconds: who takes nothing for so long gets nothing more: others wait for the sender.
        """
        self.done = asyncio.Event()
        self.arrives = False
        self._begin = begin
        self._begun = False
        self._went = 0
        self._missing = nbytes
        self._pause = pause
        self._resume = resume
        self._pieces: deque[memoryview] = deque()
        self._piece = bytearray()
        self._filled = 0
        self._news = asyncio.Event()
        self._dropped = False
        self._paused = False
        self._stall_seconds = stall_seconds
        self._loop = asyncio.get_running_loop()
        self._stalled = self._loop.call_later(stall_seconds, self.drop)

    def start(self, outlet: Outlet | None) -> None:
        """Tell the sender where the body goes, once; None: nobody wants it."""
        if not self._begun:
            self._begun = True
            self.arrives = outlet is not None and outlet.descriptor is None
            if self.arrives:
                self._piece = bytearray(min(PIECE_BYTES, self._missing))
            self._begin(outlet)

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
            self.arrives = False
            self.done.set()
        elif len(self._pieces) >= _MOST_PIECES:
            self._paused = True
            self._pause()

    def went(self, count: int) -> None:
        """So many bytes went past, and no more will."""
        self._went = count
        self.broken()

    def broken(self) -> None:
        """The sender is gone, or is done without the server."""
        if self._missing:
            self._dropped = True
        self.arrives = False
        self._stalled.cancel()
        self.done.set()
        self._news.set()

    # The taker's side --------------------------------------------------------------------------------------------------------

    async def deliver(self, outlet: Outlet) -> int:
        """Let the body go straight to the client; how many bytes of it did."""
        self._stalled.cancel()
        self.start(outlet)
        await self.done.wait()
        return self._went

    def drop(self) -> None:
        """Nobody wants the rest: what is on its way is still received, to no avail."""
        self.start(None)
        self._dropped = True
        self._pieces.clear()
        self._stalled.cancel()
        self._news.set()
        self._go_on()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> memoryview:
        """The next piece. Raises StalledError where it will not come."""
        self.start(HERE)
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


class Borrowed:
    """The body of a large answer in memory that is the session's. It leaves from there in pieces (``async for``); what has not left
    when the session goes on is copied.
    """

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Send these."""
        self._rest = deque(memoryview(piece).cast("B") for piece in pieces if len(piece))
        self._lock = asyncio.Lock()
        self._is_own = False

    async def own(self, copy: Callable[[list[memoryview]], Awaitable[list[memoryview]]]) -> None:
        """The session goes on: have what has not left in memory of its own."""
        async with self._lock:
            if not self._is_own:
                self._is_own = True
                self._rest = deque(await copy(list(self._rest)))

    def drop(self) -> None:
        """Nobody wants the rest."""
        self._rest.clear()

    def __aiter__(self) -> Borrowed:
        return self

    async def __anext__(self) -> bytes:
        async with self._lock:
            if not self._rest:
                raise StopAsyncIteration
            whole = self._rest.popleft()
            if len(whole) > PIECE_BYTES:
                self._rest.appendleft(whole[PIECE_BYTES:])
            return bytes(whole[:PIECE_BYTES])
