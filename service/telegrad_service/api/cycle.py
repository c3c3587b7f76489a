"""A request and its answer on a connection: uvicorn's, whose usual answers have their head written from lines that are kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, cast

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

_MOST_LINES: Final = 256
"""Lines of heads that are kept: most are the same in every answer, and two or three are not."""

_OF_ONE: Final = frozenset((b"x-request-id", b"server-timing"))
"""Headers that no two answers share: ``Frame`` writes them, from characters that are known."""

_FRAMING: Final = frozenset((b"connection", b"transfer-encoding"))


class Cycle(RequestResponseCycle):
    """See uvicorn. To look at each name and each value of a head again with every answer takes as long as a small computation."""

    _ends_with_connection = False

    async def send(self, message: ASGISendEvent) -> None:
        """See the ASGI specification."""
        if message["type"] == "http.response.start" and not (
            self.response_started or self.disconnected or self.access_log or not self.keep_alive or self.flow.write_paused
        ):
            head = self._plain_head(message["status"], self.default_headers + list(message.get("headers", ())))
            if head is not None:
                self.response_started, self.waiting_for_100_continue, self.chunked_encoding = True, False, False
                self.transport.write(head)
                return
        elif self._is_plain_end(message):
            self.transport.write(cast("bytes", message.get("body", b"")))
            self.expected_content_length, self.response_complete = 0, True
            self.message_event.set()
            self.on_response()
            return
        if self.scope.get("http_version") == "1.0":
            self._leave_out_chunks(message)
        await super().send(message)

    def _leave_out_chunks(self, message: ASGISendEvent) -> None:
        """An answer without a length ends with the connection: HTTP/1.0 knows no chunks (RFC 9112, 6.1), and uvicorn sends them."""
        if message["type"] == "http.response.start":
            if not any(name == b"content-length" for name, _ in message.get("headers", ())):
                self._ends_with_connection, self.chunked_encoding = True, False
        elif message["type"] == "http.response.body" and self._ends_with_connection:
            self.expected_content_length = len(message.get("body", b""))

    def _is_plain_end(self, message: ASGISendEvent) -> bool:
        """Whether this is the whole body of an answer that says how long it is, on a connection that stays."""
        return (
            message["type"] == "http.response.body"
            and len(message.get("body", b"")) == self.expected_content_length
            and not message.get("more_body", False)
            and self.response_started
            and self.chunked_encoding is False
            and self.keep_alive
            and self.scope["method"] != "HEAD"
            and not (self.response_complete or self.disconnected or self.flow.write_paused)
        )

    def _plain_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """The head of an answer of a known length on a connection that stays; None for any other."""
        lines = [STATUS_LINE[status]]
        length = None
        for pair in headers:
            name = pair[0]
            if name == b"content-length":
                length = int(pair[1])
            elif name in _FRAMING:
                return None
            lines.append(b"%s: %s\r\n" % pair if name in _OF_ONE else _line(pair))
        if length is None:
            return None
        self.expected_content_length = length
        lines.append(b"\r\n")
        return b"".join(lines)


@functools.lru_cache(_MOST_LINES)
def _line(pair: tuple[bytes, bytes]) -> bytes:
    """A header as a line. Raises RuntimeError for a name in capitals, and for what is no header."""
    name, value = pair
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value) or name != name.lower():
        raise RuntimeError("an answer has a header that is none, or whose name is not in lower case")
    return b"%s: %s\r\n" % pair
