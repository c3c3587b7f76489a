"""HTTP on a connection: uvicorn's protocol with bounds on what one client may hold up.

A head has a bound and a deadline; a body, and a client that takes an answer, must get on by some bytes in each stretch of time, so
that neither silence nor a byte now and then keeps a connection for ever. What never becomes a request is answered with a problem.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from telegrad.contract import codec, neighbours
from telegrad.contract.errors import RequestError, RequestTimeoutError, TelegradError
from telegrad_service.api.cycle import Cycle
from telegrad_service.api.endpoint import REFUSED_KEY
from telegrad_service.api.framing import Resumed, fault_of, has_body
from telegrad_service.api.gathering import Gathering
from telegrad_service.api.line import Line
from telegrad_service.api.middleware import SECURITY_HEADERS
from telegrad_service.hosts.deadline import Deadline
from telegrad_service.hosts.lending import unsent_bytes

if TYPE_CHECKING:
    from telegrad_service.api.observe import Observer
    from telegrad_service.settings import Settings

log = logging.getLogger("telegrad.service")

MAX_HEAD_BYTES: Final = 64 * 1024
"""Request line and headers together; a longer head is refused before it is held."""

_NO_REQUEST: Final = (
    "the bytes on the connection are no HTTP request: that begins with a method in capitals, such as GET, and the path from / on, "
    "and its lines end in CR LF"
)
_REASONS: Final = {400: "Bad Request", 408: "Request Timeout"}


class Protocol(HttpToolsProtocol):
    """See the module. ``config.app.state.settings`` has the deadlines."""

    _head_bytes = 0
    _in_head = True
    _in_message = False
    _arrived_bytes = 0
    _discarded_bytes = 0
    _is_guarded = False
    _has_body_to_come = False
    _since = 0.0
    _read_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    @property
    def _settings(self) -> Settings:
        found: Settings = cast(Any, self.config.app).state.settings
        return found

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """See asyncio.Protocol."""
        self._since = self.loop.time()
        neighbours.unpace(transport.get_extra_info("socket"))
        self._gathering = Gathering(transport, self.loop, self._closed, lambda: self._in_message)
        self._is_guarded = self._settings.is_for_this_machine
        self._keep_alive = Deadline(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        super().connection_made(cast("asyncio.Transport", self._gathering))
        self._watch_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._watch_no_reading()
        self._watch_no_writing()
        super().connection_lost(exc)
        self._keep_alive.close()

    def _closed(self) -> None:
        """Nothing is read any more: who waits for the rest of a body waits no longer."""
        self._watch_no_reading()
        self._watch_writing()
        if self._is_busy():
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def eof_received(self) -> None:
        """See asyncio.Protocol: the connection closes now, with what it has been given."""
        self._gathering.flush()
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._gathering.lingers:
            self._discard(data)
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + len(data):
                self._refuse(RequestError("the request's head is too long"))
                return
        self._arrived_bytes += len(data)
        if self._in_message and not self._in_head and not self._is_busy():  # the body of a request that has its answer
            self._discard(data)
            if self.transport.is_closing():
                return
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._in_message or self._read_timer is not None or not self._is_busy():
            self._watch_reading()

    def _discard(self, data: bytes) -> None:
        """Count what comes although its request has its answer."""
        self._discarded_bytes += len(data)
        if self._discarded_bytes > self._settings.limits.max_body_bytes:
            self._gathering.close_now()

    def _parse(self, data: bytes) -> None:
        """As uvicorn, which loses what comes behind a head that offers an upgrade."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offered:
                data = data[offered.args[0] :]
                if self._has_body_to_come:
                    self._has_body_to_come = False
                    self.parser = Resumed(self, self.headers).parser
            except httptools.HttpParserError:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("")
                return
            else:
                return

    def on_message_begin(self) -> None:
        """See httptools."""
        self._in_head, self._head_bytes, self._in_message = True, 0, True
        self._since, self._discarded_bytes = self.loop.time(), 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        parser = cast(Any, self.parser)  # there while a head is parsed
        fault = fault_of(self.headers, parser.get_http_version(), is_guarded=self._is_guarded)
        if fault:
            self._refuse(RequestError(fault))
            raise ValueError(fault)  # ends the parser's work
        self._has_body_to_come = parser.should_upgrade() and has_body(self.headers)
        self._in_head = False
        self._watch_no_reading()  # the body has a watch of its own
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # uvicorn has no place to name another one; its task begins later
        if self.scheme == "http":  # what goes past an encrypted connection's own reader and writer would not be encrypted
            Line(self, self.cycle)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._has_body_to_come:
            return  # it is the head of an offer to upgrade that is complete
        super().on_message_complete()
        self._in_head, self._head_bytes, self._in_message = True, 0, False
        self._watch_no_reading()

    def on_response_complete(self) -> None:
        """See uvicorn. An answer that is whole leaves at once, if it is the only one that somebody waits for."""
        if len(self.tasks) == 1:
            self._gathering.flush()
        else:
            self._gathering.outbox.flush_if_late()
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._keep_alive.set()
        self.timeout_keep_alive_task = cast("asyncio.TimerHandle", self._keep_alive)  # it is cancelled in the same way

    # Bodies that go past this ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what was written."""
        self._gathering.flush()

    def note_sent(self, nbytes: int) -> None:
        """So many bytes were sent by somebody else."""
        self._gathering.nbytes += nbytes

    # Clients that are slow to send ---------------------------------------------------------------------------------------------

    def _is_busy(self) -> bool:
        """Whether an answer is due or under way."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # uvicorn's annotation leaves out the time before the first
        return cycle is not None and not cycle.response_complete

    def _watch_reading(self) -> None:
        """Wait for the rest of a head or body, or for the first byte of a connection; between two requests uvicorn does."""
        if self._read_timer is not None or self.transport.is_closing():
            return
        if not self._in_message and (self._is_busy() or self.timeout_keep_alive_task is not None):
            return
        settings = self._settings
        if self._in_head:
            self._read_timer = self.loop.call_later(settings.head_seconds, self._head_is_late)
        else:
            self._read_timer = self.loop.call_later(settings.stall_seconds, self._look_at_body, self._arrived_bytes)

    def _watch_no_reading(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _head_is_late(self) -> None:
        self._read_timer = None
        if self._is_busy():
            self._watch_reading()  # of the next request, which waits for the answer to this one
        elif self._in_message:
            self._refuse(RequestTimeoutError(f"the request's head did not arrive within {self._settings.head_seconds:g} seconds"))
        else:
            self.transport.close()

    def _look_at_body(self, before: int) -> None:
        self._read_timer = None
        settings = self._settings
        wanted = settings.stall_seconds * settings.stall_bytes_per_second
        if self.flow.read_paused or self._arrived_bytes - before >= wanted:  # paused: it is us who are slow
            self._watch_reading()
        elif self._is_busy() and not self.cycle.response_started:
            self._refuse(
                RequestTimeoutError(
                    f"less than {wanted:,.0f} bytes of the body arrived in {settings.stall_seconds:g} seconds; nothing was done"
                )
            )
        else:
            self.transport.close()  # it was answered before its body had come

    # Clients that are slow to take ---------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client has not taken yet what was sent."""
        super().pause_writing()
        self._watch_writing()

    def timeout_keep_alive_handler(self) -> None:
        """See uvicorn: nothing came for long. Perhaps the client is still busy with the last answer."""
        if self.transport.get_write_buffer_size() and not self.transport.is_closing():
            self._watch_writing()
            self._keep_alive.set()
        else:
            super().timeout_keep_alive_handler()

    def _watch_writing(self) -> None:
        """Look now and then whether the client takes what waits for it."""
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._write_timer is None:
            self._write_timer = self.loop.call_later(self._settings.stall_seconds, self._look_at_answer, self._taken_bytes())

    def _taken_bytes(self) -> int:
        """What the client's machine has received since the beginning: neither ours nor the system's buffer holds it any more."""
        sock = self.transport.get_extra_info("socket")
        return self._gathering.nbytes - self.transport.get_write_buffer_size() - unsent_bytes(sock)

    def _watch_no_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _look_at_answer(self, taken_before: int) -> None:
        self._write_timer = None
        settings = self._settings
        taken = self._taken_bytes() - taken_before
        if not self.transport.get_write_buffer_size() or taken >= settings.stall_seconds * settings.stall_bytes_per_second:
            self._watch_writing()
            return
        log.warning("an answer was cut: its client took %d bytes of it in %g s", taken, settings.stall_seconds)
        self.transport.abort()

    # What never becomes a request ----------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; its words are not ours
        """See uvicorn."""
        self._refuse(RequestError(_NO_REQUEST))

    def _refuse(self, error: TelegradError) -> None:
        """Answer with a problem, and hang up. An answer to a request before this one comes first, and is then the last.

        Whatever it was that came, more of it may be on the way: the connection lingers.
        """
        if self.transport.is_closing():
            return
        if self._is_busy():
            if self._in_head:  # whatever was sent now would be taken for the answer to the one before
                self.cycle.keep_alive = False
                self.flow.pause_reading()
                return
            if self.pipeline or self.cycle.response_started:
                self._gathering.close_now()
                return
        request_id = secrets.token_hex(12)
        body = codec.dump_json({**error.problem(), "request_id": request_id})
        headers = [
            (b"content-type", codec.PROBLEM_MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
            *SECURITY_HEADERS,
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        lines = [f"HTTP/1.1 {error.status} {_REASONS[error.status]}".encode(), *[b"%s: %s" % pair for pair in headers]]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        if self._is_busy():
            cast("dict[str, Any]", self.cycle.scope)[REFUSED_KEY] = error.status  # counted where its request is
        else:
            observer: Observer = cast(Any, self.config.app).state.observer
            observer.note_refused(request_id, error.status, self.loop.time() - self._since, len(body))
        self._in_message = True
        self.transport.close()
