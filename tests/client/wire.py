"""Remote sessions whose requests the tests can count, look into, and make fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2

import telegrad
from telegrad.contract import codec, safetensors
from tests.places import InProcess, application

ADDRESS = "http://telegrad.test"

Fault = Callable[[httpx2.Request], "httpx2.Response | None"]
"""Answers in the server's place, or raises; None passes the request on."""


class Wire(httpx2.BaseTransport):
    """The service in this process, behind a counter.

    Attributes:
        requests: what was sent, in order.
        fault: see ``Fault``.
        answered_bytes: length of the service's last answer.
    """

    def __init__(self) -> None:
        self._inner = InProcess(*application())
        self.requests: list[httpx2.Request] = []
        self.fault: Fault | None = None
        self.answered_bytes = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        answer = None if self.fault is None else self.fault(request)
        return self.answer(request) if answer is None else answer

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """The service's answer."""
        answer = self._inner.handle_request(request)
        body = b"".join(cast("Iterable[bytes]", answer.stream))  # as it travels: compressed, perhaps
        self.answered_bytes = len(body)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=httpx2.ByteStream(body))

    @property
    def trips(self) -> int:
        """Requests so far."""
        return len(self.requests)

    def commands(self, index: int = -1) -> list[dict[str, Any]]:
        """The commands of a batch that was sent."""
        request = self.requests[index]
        if request.headers["content-type"] == codec.SAFETENSORS_MEDIA_TYPE:
            _, message = safetensors.unpack(request.content)
        else:
            message = json.loads(request.content)
        commands: list[dict[str, Any]] = message["commands"]
        return commands

    def open(self, **options: Any) -> telegrad.RemoteSession:
        """A session over this wire."""
        return telegrad.connect(ADDRESS, transport=self, **options)


class Elsewhere(httpx2.AsyncBaseTransport):
    """The same service, called from the test's own event loop; it runs on the loop of ``tests.places``."""

    def __init__(self) -> None:
        self._inner = Wire()
        self.wire = self._inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return await asyncio.to_thread(self._inner.handle_request, request)


@asynccontextmanager
async def open_async(**options: Any) -> AsyncIterator[tuple[telegrad.AsyncSession, Wire]]:
    """An async session, entered, and its wire."""
    transport = Elsewhere()
    async with telegrad.connect_async(ADDRESS, transport=transport, **options) as session:
        yield session, transport.wire
