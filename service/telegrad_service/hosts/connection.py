"""The server's end of the connection to a session's process: one request at a time, large bodies in pieces."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from telegrad.contract.errors import TelegradError, UnavailableError
from telegrad_service.hosts import frames, shared
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.lending import Outlet, Upload
from telegrad_service.hosts.streams import Stream
from telegrad_service.session.account import Allowance, Need, Report
from telegrad_service.session.watch import News, Watch

_SCRATCH_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 2**20
"""Large bodies are handed to the socket in pieces of this size, the next one when there is room."""


class WorkerGone(Exception):  # noqa: N818 - a signal between connection and host, never shown to users
    """The session's process has closed the connection: it has ended."""


Found: TypeAlias = "Answer | TelegradError | frames.Fault | WorkerGone"
"""What comes of a request."""


class Connection(asyncio.BufferedProtocol):
    """Sends frames and receives their answers."""

    def __init__(self, end: socket.socket, stall_seconds: float) -> None:
        """Talk over our end of a socket pair; who takes nothing of a large answer for so long gets no more of it."""
        self._end = end
        self._shares = shared.can_share(end)
        self._stall_seconds = stall_seconds
        self._stream: Stream | None = None
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._pending = bytearray()
        self._header: dict[str, Any] | None = None
        self._body = bytearray()
        self._filled = 0
        self._deliver: Callable[[Found], object] | None = None
        self._hear: Callable[[News], object] | None = None
        self._grant: Callable[[Need], Allowance] | None = None
        self._upload: Upload | None = None
        self.report: Report | None = None
        """What the session said with its last answer that it holds."""
        self.done: tuple[Mapping[str, int], float] = ({}, 0.0)
        """What it said that it did: commands by kind, and the seconds for which it waited for its journal."""
        self._transport: asyncio.WriteTransport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self.closed = False

    @classmethod
    async def over(cls, end: socket.socket, stall_seconds: float) -> Connection:
        """A connection over our end of a socket pair."""
        _, protocol = await asyncio.get_running_loop().create_connection(lambda: cls(end, stall_seconds), sock=end)
        return protocol

    async def idle(self) -> None:
        """Wait until the last answer has been received to its end."""
        if self._stream is not None:
            await self._stream.done.wait()

    async def ask(
        self,
        work: Work,
        watch: Watch | None = None,
        hear: Callable[[News], object] | None = None,
        grant: Callable[[Need], Allowance] | None = None,
    ) -> Found:
        """Send a request, on an ``idle`` connection, and wait for what comes of it.

        Passes on the wish to stop that ``watch`` has, and lets ``hear`` hear the news meanwhile; ``grant`` gives it more
        than it was allowed, or raises.
        """
        transport = self._transport
        if transport is None or self.closed:
            return WorkerGone()
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        work = _stopped(work, watch)
        self._upload = work.upload
        self._expect(lambda found: None if answer.done() else answer.set_result(found), hear, grant)
        for piece in self._begin(transport, work):
            view = memoryview(piece)
            for start in range(0, len(view), _PIECE_BYTES):
                await self._room.wait()
                if answer.done():  # it has closed meanwhile
                    return await answer
                transport.write(view[start : start + _PIECE_BYTES])
        if watch is None:
            return await answer
        # Not before: the wish must not come in the middle of the request.
        watch.when_stopped(lambda reason: transport.writelines(frames.stop_frame(reason)))
        try:
            return await answer
        finally:
            watch.never_mind()

    @property
    def is_free(self) -> bool:
        """Whether a small request can be sent now, without waiting for anything."""
        return (self._stream is None or self._stream.done.is_set()) and self._room.is_set() and not self.closed

    def begin(self, work: Work, watch: Watch | None, deliver: Callable[[Found], object], hear: Callable[[News], object]) -> None:
        """Send a small request without arrays, on a free connection; ``deliver`` is called with what comes of it.

        A wish to stop that ``watch`` has is passed on until it is told to ``never_mind``.
        """
        transport = self._transport
        assert transport is not None  # noqa: S101 - it is free
        self._expect(deliver, hear, None)
        transport.writelines(frames.work_frame(_stopped(work, watch)))
        if watch is not None:
            watch.when_stopped(lambda reason: transport.writelines(frames.stop_frame(reason)))

    def _expect(
        self,
        deliver: Callable[[Found], object],
        hear: Callable[[News], object] | None,
        grant: Callable[[Need], Allowance] | None,
    ) -> None:
        self._deliver, self._hear, self._grant, self.report = deliver, hear, grant, None
        self.done = ({}, 0.0)

    def _tell(self, found: Found) -> bool:
        """Whether somebody waited for it."""
        deliver, self._deliver = self._deliver, None
        if deliver is not None:
            deliver(found)
        return deliver is not None

    def _begin(self, transport: asyncio.WriteTransport, work: Work) -> Sequence[frames.Piece]:
        """Send the head of a request together with the descriptors of its arrays; what is left to send."""
        if work.upload is not None:
            try:
                rest = self._send_with([work.upload.descriptor], frames.work_frame(work))
            except BlockingIOError:  # it was idle
                raise UnavailableError("the session's process takes nothing for the moment; nothing was done") from None
            work.upload.taken = None
            return rest
        large = {}
        if self._shares and work.buffers and not transport.get_write_buffer_size():
            found = {name: shared.descriptor_of(array) for name, array in work.buffers.items()}
            large = dict([(n, d) for n, d in found.items() if d is not None][: shared.MAX_DESCRIPTORS])
        if not large:
            return frames.work_frame(work)
        try:
            return self._send_with(list(large.values()), frames.work_frame(work, list(large)))
        except BlockingIOError:  # no room for the head, where nothing waited: send all of it
            return frames.work_frame(work)

    def _send_with(self, descriptors: Sequence[int], pieces: Sequence[frames.Piece]) -> Sequence[frames.Piece]:
        """Send descriptors with the beginning of a frame; what is left to send. Raises BlockingIOError."""
        first, *rest = pieces
        sent = socket.send_fds(self._end, [first], descriptors)
        return [memoryview(first)[sent:], *rest]

    def close(self) -> None:
        """Hang up: the process ends when it has nothing to do."""
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls --------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        self._transport = cast("asyncio.WriteTransport", transport)  # over a socket it is; uvloop's is no subclass

    def pause_writing(self) -> None:
        """See asyncio.BaseProtocol."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See asyncio.BaseProtocol."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """See asyncio.BaseProtocol."""
        self.closed = True
        self._room.set()
        if self._stream is not None:
            self._stream.broken()
        self._tell(WorkerGone())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """See asyncio.BufferedProtocol: the rest of a long body arrives in its place."""
        if self._stream is not None and self._stream.arrives:
            return self._stream.room()
        if self._header is not None:
            return memoryview(self._body)[self._filled :]
        return memoryview(self._scratch)

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        if self._stream is not None and self._stream.arrives:
            self._stream.arrived(nbytes)
            return
        if self._header is not None:
            self._filled += nbytes
            self._finish_if_whole()
            return
        if not self._pending and nbytes >= frames.HEAD.size:
            header_bytes, body_bytes = frames.HEAD.unpack_from(self._scratch)
            begin = frames.HEAD.size + header_bytes
            if nbytes == begin + body_bytes:  # one whole frame, as almost always
                answer = self._meet(bytes(self._scratch[frames.HEAD.size : begin]))
                if answer is not None:
                    self._tell(frames.read_answer(answer, bytes(self._scratch[begin:nbytes])))
                return
        self._pending += memoryview(self._scratch)[:nbytes]
        while self._header is None and len(self._pending) >= frames.HEAD.size:
            header_bytes, body_bytes = frames.HEAD.unpack_from(self._pending)
            begin = frames.HEAD.size + header_bytes
            if len(self._pending) < begin:
                return
            answer = self._meet(bytes(self._pending[frames.HEAD.size : begin]))
            if answer is None:
                del self._pending[:begin]
                continue
            if body_bytes > frames.LARGE_ANSWER_BYTES:
                self._begin_stream(answer, body_bytes)
                return
            self._header = answer
            self._body = bytearray(body_bytes)
            rest = len(self._pending) - begin
            self._body[:rest] = memoryview(self._pending)[begin:]
            self._filled = rest
            self._pending = bytearray()
            self._finish_if_whole()

    def _meet(self, header: bytes) -> dict[str, Any] | None:
        """The header of an answer; None for what is not yet one, and has no body: it is passed on."""
        if not header.startswith(frames.IS_ANSWER) and self._passed_on(header):
            return None
        answer = frames.read_header(header)
        self.report, self.done = frames.report_in(answer), frames.done_in(answer)
        return answer

    def _passed_on(self, header: bytes) -> bool:
        """Whether a frame is no answer, nor the error in place of one: whoever it is for has it then."""
        news = frames.read_news(header)
        if news is not None:
            if self._hear is not None:
                self._hear(news)
            return True
        taken = frames.read_taken(header)
        if taken is not None:
            if self._upload is not None:
                self._upload.taken = taken
            return True
        went = frames.read_went(header)
        if went is not None:
            if self._stream is not None:
                self._stream.went(went)
            return True
        need = frames.read_ask(header)
        if need is not None:
            self._answer_ask(need)
            return True
        return False

    def _answer_ask(self, need: Need) -> None:
        assert self._transport is not None  # noqa: S101 - what it sends has just arrived
        try:
            pieces = frames.grant_frame(Allowance() if self._grant is None else self._grant(need))
        except TelegradError as error:
            pieces = frames.error_frame(error)
        self._transport.writelines(pieces)

    def _begin_stream(self, header: dict[str, Any], nbytes: int) -> None:
        """The answer is given out before it is here; the session's process waits to hear where it goes."""
        transport = cast("asyncio.ReadTransport", self._transport)
        stream = self._stream = Stream(
            nbytes, self._send_outlet, transport.pause_reading, transport.resume_reading, self._stall_seconds
        )
        self._pending = bytearray()
        if not self._tell(frames.read_answer(header, b"", stream, nbytes)):
            stream.drop()

    def _send_outlet(self, outlet: Outlet | None) -> None:
        """Tell the session's process where the body of its answer goes."""
        if self._transport is None or self.closed:
            return
        pieces = frames.outlet_frame(outlet)
        if outlet is None or outlet.descriptor is None:
            self._transport.writelines(pieces)
            return
        try:
            self._transport.writelines(self._send_with([outlet.descriptor], pieces))
        except BlockingIOError:  # it waits for nothing else
            self._transport.close()

    def _finish_if_whole(self) -> None:
        if self._filled < len(self._body):
            return
        assert self._header is not None  # noqa: S101 - it came before the body
        header, body = self._header, self._body
        self._header, self._body, self._filled = None, bytearray(), 0
        self._tell(frames.read_answer(header, body))


def _stopped(work: Work, watch: Watch | None) -> Work:
    """The work with the wish to stop that came while it waited: the wish itself may come when a short run is over."""
    return work if watch is None or not watch.stopped else dataclasses.replace(work, stopped=watch.stopped)
