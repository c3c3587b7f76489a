"""What is written in one turn of the event loop leaves at its end: head and body of a small answer in one packet, and the answers
to several clients one after the other. Sent at once, each would wake somebody who wants a processor, perhaps the server's own.

And a connection is closed so that its last answer arrives: see ``Gathering.close``.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

_SMALL_BYTES: Final = 64 * 1024
"""What is larger is not joined with anything: the copy would cost more than the packet."""

_LATE_SECONDS: Final = 0.002
"""So long an answer that is ready may wait for the others of its turn."""

LINGER_SECONDS: Final = 2.0
"""So long a client that was still sending is listened to after the last answer: several times there and back on any usual way."""


class Outbox:
    """What waits to be sent, of all connections of an event loop."""

    _of_loops: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox]] = weakref.WeakKeyDictionary()

    def __init__(self) -> None:
        self._waiting: list[Gathering] = []
        self._since = 0.0

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Outbox:
        """The one of that loop."""
        return cls._of_loops.setdefault(loop, cls())

    def add(self, gathering: Gathering, loop: asyncio.AbstractEventLoop) -> None:
        """Let it send at the end of this turn of the loop."""
        if not self._waiting:
            self._since = time.perf_counter()
            loop.call_soon(self.flush)
        self._waiting.append(gathering)

    def flush(self) -> None:
        """Let all send now."""
        waiting, self._waiting = self._waiting, []
        for gathering in waiting:
            gathering.flush()

    def flush_if_late(self) -> None:
        """Let all send now if the first has waited for long."""
        if time.perf_counter() - self._since >= _LATE_SECONDS:
            self.flush()


class Gathering:
    """A transport that sends at the end of each turn of the event loop what was written in it; otherwise the one it stands for.

    Attributes:
        nbytes: written since the beginning.
        outbox: of its loop.
        lingers: whether it is closed, and what still arrives is to be thrown away.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        closed: Callable[[], object] = lambda: None,
        is_sending: Callable[[], bool] = lambda: False,
    ) -> None:
        """Stand for ``transport``.

        Args:
            transport: of the connection.
            loop: in which it is.
            closed: called when it was closed, perhaps with something still to be taken.
            is_sending: whether the client may be in the middle of sending something.
        """
        self._transport = transport
        self._loop = loop
        self._closed = closed
        self._is_sending = is_sending
        self.nbytes = 0
        self.lingers = False
        self.outbox = Outbox.of(loop)
        self._written: list[bytes | bytearray | memoryview] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.WriteTransport."""
        self.nbytes += len(data)
        if len(data) > _SMALL_BYTES:
            self.flush()
            self._transport.write(data)
            return
        if not self._written:
            self.outbox.add(self, self._loop)
        self._written.append(data)

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """See asyncio.BaseTransport: what was written is sent.

        Who may still be sending is told that nothing more comes, and listened to until it hangs up, for ``LINGER_SECONDS`` at most:
        what arrives where nobody reads it is answered by the system with a reset, and that makes the client's system throw away
        the answer that it has not read yet (RFC 9112, 9.6). Closed again, the connection is closed at once.
        """
        if not self.is_closing() and self._is_sending() and self._transport.can_write_eof():
            self.flush()
            self.lingers = True
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGER_SECONDS, self._transport.close)
            self._closed()
        else:
            self.close_now()

    def close_now(self) -> None:
        """Close it, whatever the client does: what was written is sent."""
        self.flush()
        self._transport.close()
        self._closed()

    def flush(self) -> None:
        """Send what was written."""
        written, self._written = self._written, []
        if written and not self.is_closing():
            self._transport.write(written[0] if len(written) == 1 else b"".join(written))
