"""A client's connection, for bodies that are received and sent past the event loop: see ``hosts.lending``."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import httptools
from starlette.types import Scope

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from telegrad_service.api.protocol import Protocol

_EXTENSION: Final = "telegrad.line"
_FLUSH_TURNS: Final = 4
"""Turns of the event loop in which a head leaves, where its client takes anything."""


class Line:
    """The connection of one request, which can be lent for its body, and for its answer's.

    Attributes:
        received_bytes, sent_bytes: of the bodies, by whom it was lent to.
    """

    __slots__ = ("_cycle_of", "_protocol_of", "received_bytes", "sent_bytes")

    def __init__(self, protocol: Protocol, cycle: RequestResponseCycle) -> None:
        """Of the request whose ``cycle`` that is; offered to the application in its scope."""
        # Both refer to the scope, and with it to this, and would be the collector's work.
        self._protocol_of: Callable[[], Any] = weakref.ref(protocol)
        self._cycle_of: Callable[[], Any] = weakref.ref(cycle)
        self.received_bytes = self.sent_bytes = 0
        scope: Any = cycle.scope
        scope["extensions"] = {_EXTENSION: self}

    @property
    def _protocol(self) -> Protocol:
        found: Protocol = self._protocol_of()
        return found

    @property
    def _cycle(self) -> RequestResponseCycle:
        found: RequestResponseCycle = self._cycle_of()
        return found

    def lend_for_body(self) -> tuple[int, bytes]:
        """Read nothing more until ``take_back``: the connection's descriptor, and what came of the body since it was asked for."""
        self._protocol.flow.pause_reading()
        came = bytes(self._cycle.body)
        self._cycle.body = bytearray()
        descriptor: int = self._protocol.transport.get_extra_info("socket").fileno()
        return descriptor, came

    def take_back(self, missing: int, taken: int | None) -> None:
        """Go on with the connection.

        Args:
            missing: bytes of the body that were to come.
            taken: how many of them were received; None where nobody knows.
        """
        protocol = self._protocol
        if taken == 0 or protocol.transport.is_closing():
            return
        self.received_bytes += taken or 0
        if taken != missing:
            self._cycle.keep_alive = False  # where the next request begins nobody can tell
            return
        # The parser waits for a body that has come: the next request gets a new one.
        protocol.parser = httptools.HttpRequestParser(protocol)
        protocol.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        protocol.on_message_complete()
        protocol.flow.resume_reading()

    async def lend_for_answer(self) -> int | None:
        """The connection's descriptor, when the head of the answer has left; None where that takes longer."""
        transport = self._protocol.transport
        self._protocol.flush()
        for _ in range(_FLUSH_TURNS):
            if transport.is_closing():
                return None
            if not transport.get_write_buffer_size():
                descriptor: int = transport.get_extra_info("socket").fileno()
                return descriptor
            await asyncio.sleep(0)
        return None

    def note_sent(self, nbytes: int) -> None:
        """So much of the answer's body was sent by whom the connection was lent to."""
        self._cycle.expected_content_length -= nbytes
        self._protocol.note_sent(nbytes)
        self.sent_bytes += nbytes


def line_of(scope: Scope) -> Line | None:
    """The connection that a request came over, where it can be lent."""
    line: Line | None = scope.get("extensions", {}).get(_EXTENSION)
    return line
