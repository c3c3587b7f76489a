"""The fast transport of async sessions: what ``_direct`` says and reads, over sockets that asyncio's loop waits for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Any, cast

from telegrad import _defaults
from telegrad._direct import FAULTS, HUNG_UP, Answer, Line, give_up, reading
from telegrad._transport import NotSent, Request, Response, Sink, not_reached
from telegrad.contract import neighbours


class AsyncDirectTransport:
    """See ``AsyncTransport``. Connections are kept alive."""

    def __init__(self, url: str, *, timeout_seconds: float, headers: Mapping[str, str] | None, compress: bool = False) -> None:
        """See ``telegrad.connect_async``. ``telegrad._direct.serves`` must hold."""
        self._line = Line(url, headers, compress)
        self._timeout_seconds = timeout_seconds

    async def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        loop = asyncio.get_running_loop()
        connection = self._line.kept() or await self._connect(loop)
        answer, read = Answer(request.hear), None
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                head, body = self._line.written(request)
                await loop.sock_sendall(connection, head)
                with contextlib.suppress(*HUNG_UP):
                    for piece in body:
                        await loop.sock_sendall(connection, piece)
                        limit.reschedule(loop.time() + self._timeout_seconds)
                received: Any = None
                steps = reading(answer)
                with contextlib.suppress(StopIteration):
                    while True:
                        wanted = steps.send(received)
                        if isinstance(wanted, int):
                            received = await loop.sock_recv(connection, wanted)
                        else:
                            received = await loop.sock_recv_into(connection, wanted)
                        limit.reschedule(loop.time() + self._timeout_seconds)
            read = answer
            return cast(Sink, answer.sink).finish()
        except FAULTS as error:
            give_up(error)
        finally:
            answer.forget_parser()
            self._line.leave(connection, read)

    async def close(self) -> None:
        """Close all connections."""
        self._line.close()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """A new connection. Raises NotSent."""
        host, port = self._line.address
        try:
            async with asyncio.timeout(min(_defaults.CONNECT_TIMEOUT_SECONDS, self._timeout_seconds)):
                return await _first_of(loop, await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:  # the latter of a name that none can have
            reason = str(error) or "timed out"
            raise NotSent(not_reached(self._line.url, reason, error)) from error


async def _first_of(loop: asyncio.AbstractEventLoop, addresses: Any) -> socket.socket:
    """A connection to the first address that can be reached. Raises OSError."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(made, address)
            neighbours.unpace(made)
        except BaseException as error:
            made.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            return made
    raise failure or OSError("the name has no address")
