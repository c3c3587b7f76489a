"""Heads written from kept lines are those that uvicorn writes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from telegrad_service.api.cycle import Cycle

Headers = list[tuple[bytes, bytes]]


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


def answered(cls: type[RequestResponseCycle], status: int, headers: Headers, body: bytes, method: str, keep: bool) -> Transport:
    """An answer sent through such a cycle."""
    transport: Any = Transport()
    log = logging.getLogger("unused")

    async def run() -> None:
        cycle = RequestResponseCycle(
            scope={"method": method, "headers": []},  # type: ignore[typeddict-item] # what it looks at
            transport=transport,
            flow=FlowControl(transport),
            logger=log,
            access_logger=log,
            access_log=False,
            default_headers=[(b"date", b"today")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep,
            on_response=lambda: None,
        )
        cycle.__class__ = cls
        await cycle.send({"type": "http.response.start", "status": status, "headers": headers})
        await cycle.send({"type": "http.response.body", "body": body, "more_body": False})
        assert cycle.response_complete

    asyncio.run(run())
    return transport


@pytest.mark.parametrize(
    ("status", "headers", "body", "method", "keep"),
    [
        (200, [(b"content-length", b"2"), (b"content-type", b"application/json")], b"{}", "POST", True),
        (200, [(b"content-length", b"2")], b"{}", "POST", False),
        (204, [], b"", "DELETE", True),
        (200, [(b"content-length", b"0"), (b"x-request-id", b"a1"), (b"server-timing", b"total;dur=0.100")], b"", "POST", True),
        (200, [(b"content-length", b"2")], b"{}", "HEAD", True),
        (200, [(b"content-type", b"text/event-stream")], b"data: 1\n\n", "POST", True),
        (400, [(b"content-length", b"0"), (b"connection", b"close")], b"", "GET", True),
    ],
)
def test_an_answer_is_what_uvicorn_would_send(status: int, headers: Headers, body: bytes, method: str, keep: bool):
    ours, theirs = (answered(cls, status, headers, body, method, keep) for cls in (Cycle, RequestResponseCycle))
    assert (ours.written, ours.closed) == (theirs.written, theirs.closed)


@pytest.mark.parametrize("pair", [(b"x-a", b"1\r\nx-b: 2"), (b"x a", b"1"), (b"X-A", b"1")])
def test_a_header_that_is_none_is_not_sent(pair: tuple[bytes, bytes]):
    with pytest.raises(RuntimeError):
        answered(Cycle, 200, [(b"content-length", b"0"), pair], b"", "GET", True)


@pytest.mark.parametrize("said", [b"1", b"3"])
def test_a_body_of_another_length_than_was_said_is_not_sent(said: bytes):
    with pytest.raises(RuntimeError):
        answered(Cycle, 200, [(b"content-length", said)], b"{}", "GET", True)
