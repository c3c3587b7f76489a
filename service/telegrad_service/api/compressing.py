"""Answers in zstd for those who ask for it."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Message, Send

from telegrad.contract.compression import ZSTD, Compressor, is_available
from telegrad_service.api.negotiation import Headers, header, qualities

_LEAST_BYTES: Final = 1024
"""Shorter answers hardly become shorter."""

_INLINE_BYTES: Final = 64 * 1024
"""Pieces up to this size are compressed in less time than handing them to a thread takes."""


def is_wanted(headers: Headers) -> bool:
    """Whether Accept-Encoding asks for zstd, and not for anything that there is: libraries list by themselves all they know."""
    given = header(headers, b"accept-encoding")
    if not given or ZSTD not in given.lower():
        return False
    liking = qualities(given)
    wanted = liking.pop(ZSTD, 0.0)
    return wanted > 0 and all(wanted > other for other in liking.values()) and is_available()


class Compressing:
    """Sends an answer on, compressed where that is worth it. What has no length yet, or an entity tag, stays as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._compressor: Compressor | None = None

    async def __call__(self, message: Message) -> None:
        """See the ASGI specification."""
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if int(headers.get(b"content-length", b"0")) < _LEAST_BYTES or headers.keys() & {b"etag", b"content-encoding"}:
                await self._send(message)
                return
            self._compressor = Compressor()
            kept = [(name, value) for name, value in message["headers"] if name != b"content-length"]
            added = [(b"content-encoding", ZSTD.encode()), (b"vary", b"accept-encoding")]
            await self._send({**message, "headers": [*kept, *added]})
            return
        if self._compressor is None:
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        made = self._feed(body, more) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(self._feed, body, more)
        if made or not more:
            await self._send({**message, "body": made})

    def _feed(self, body: bytes, more: bool) -> bytes:
        assert self._compressor is not None  # noqa: S101 - the answer has begun
        made = self._compressor.feed(body) if body else b""
        return made if more else made + self._compressor.finish()
