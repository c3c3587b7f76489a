"""Head and body of a small answer in one packet: uvicorn writes them one after the other, and uvloop sends each at once, which
wakes the client twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

_SMALL_BYTES: Final = 64 * 1024
"""What is larger is not joined with anything: the copy would cost more than the packet."""


class Gathering:
    """A transport that sends at the end of each turn of the event loop what was written in it; otherwise the one it stands for.

    Attributes:
        nbytes: written since the beginning.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, closed: Callable[[], object] = lambda: None
    ) -> None:
        """Stand for ``transport``; ``closed`` is called when it was closed, perhaps with something still to be taken."""
        self._transport = transport
        self._loop = loop
        self._closed = closed
        self.nbytes = 0
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
            self._loop.call_soon(self.flush)
        self._written.append(data)

    def close(self) -> None:
        """See asyncio.BaseTransport: what was written is sent."""
        self.flush()
        self._transport.close()
        self._closed()

    def flush(self) -> None:
        """Send what was written."""
        written, self._written = self._written, []
        if written and not self._transport.is_closing():
            self._transport.write(written[0] if len(written) == 1 else b"".join(written))
