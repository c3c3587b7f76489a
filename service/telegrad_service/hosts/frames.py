"""What passes between the server and a session's process: frames of a JSON header and raw bytes, nothing that could run.

A frame is ``<IQ`` (bytes of the header, bytes of the body), the header as JSON, and the body: the request's JSON text and its
arrays one after the other, or the answer's. Arrays are received straight into memory allocated once, or come as descriptors
(``shared``).
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from telegrad.contract import codec, errors
from telegrad.contract.errors import InternalError, LimitError, RequestTimeoutError, TelegradError
from telegrad_service.hosts import shared
from telegrad_service.hosts.base import Answer, Array, Work
from telegrad_service.hosts.lending import Outlet, Upload, deliver, receive
from telegrad_service.hosts.streams import Stream
from telegrad_service.hosts.sums import Arrived, Arriving
from telegrad_service.session.account import Allowance, Need, Report
from telegrad_service.session.watch import News

Piece: TypeAlias = "bytes | memoryview"

_encode: Final = codec.json_writer(allow_nan=True)
_decode: Final = json.JSONDecoder().raw_decode

HEAD: Final = struct.Struct("<IQ")

_JOIN_BYTES: Final = 64 * 1024
"""Frames up to this size are sent in one call."""

_SCRATCH_BYTES: Final = 16 * 1024
_INT: Final = struct.Struct("i")
_BESIDE_BYTES: Final = socket.CMSG_SPACE(shared.MAX_DESCRIPTORS * _INT.size) if hasattr(socket, "CMSG_SPACE") else 0

_MOST_PIECES: Final = 512
"""Of one call of ``sendmsg``; the kernel takes 1,024."""

IS_ANSWER: Final = b'{"status":'
"""How the header of an answer begins, and no other."""

LARGE_ANSWER_BYTES: Final = 2**20
"""The body of a longer answer waits until it is known where it goes."""


class ServerGone(BaseException):
    """The server has closed the connection in the middle of a request. No error of the request, which nobody is told of: what is
    written down of it is done whole when the session is brought back, so that nothing may be kept of how far it came here.
    """


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of ours in the session's process: the traceback's text, for the log."""

    text: str


def frame(header: dict[str, Any], body: Sequence[Piece] = ()) -> list[Piece]:
    """The pieces of one frame; a small one is one piece."""
    size = len(body[0]) if len(body) == 1 else sum(len(p) for p in body)
    text = _encode(header).encode()
    head = HEAD.pack(len(text), size) + text
    return [b"".join([head, *body])] if size <= _JOIN_BYTES else [head, *body]


def work_frame(work: Work, beside: Sequence[str] = ()) -> list[Piece]:
    """A request as a frame. Its arguments are JSON values. The arrays named in ``beside`` come as descriptors, in that order."""
    layout: list[Any] = []
    parts: list[Piece] = [work.body]
    for name, array in work.buffers.items():
        layout.append((name, array.dtype.str, array.shape, name in beside))
        if name not in beside:
            parts.append(codec.array_bytes(array))
    names = work.media_type, work.request_id, work.client, work.number, work.key, work.turn
    header: dict[str, Any] = {"verb": work.verb, "names": names, "body": len(work.body)}
    if work.arguments:
        header["arguments"] = work.arguments
    if layout:
        header["buffers"], header["beside"] = layout, beside
    if work.allowance is not None:
        header["allowance"] = work.allowance
    if work.stopped:
        header["stopped"] = work.stopped
    upload = work.upload
    if upload is not None:
        rows = [(name, dtype.str, shape) for name, dtype, shape in upload.layout]
        came = sum(len(view) for view in upload.first)
        header["upload"] = {"layout": rows, "first": came, "missing": upload.missing, "seconds": upload.seconds}
        parts += upload.first
    return frame(header, parts)


def answer_frame(answer: Answer, report: Report | None = None, done: tuple[Mapping[str, int], float] | None = None) -> list[Piece]:
    """An answer as a frame, with what the session holds now, and what it did: commands by kind, and seconds of its journal."""
    header: dict[str, Any] = {"status": answer.status, "media_type": answer.media_type}  # begins as ``IS_ANSWER`` has it
    if answer.created is not None:
        header["created"] = answer.created
    if answer.headers:
        header["headers"] = answer.headers
    if report is not None:
        header["report"] = report
    if done is not None:
        header["done"] = done
    return frame(header, answer.pieces)


def error_frame(error: TelegradError, report: Report | None = None) -> list[Piece]:
    """An error that the request itself raised, as a frame, with what the session holds now."""
    header: dict[str, Any] = {"problem": error.problem()}
    if report is not None:
        header["report"] = report
    return frame(header)


def fault_frame(text: str) -> list[Piece]:
    """A fault of ours, as a frame."""
    return frame({"fault": text})


def stop_frame(reason: str) -> list[Piece]:
    """The wish that the request under way stops at its next chance."""
    return frame({"stop": reason})


def news_frame(news: News) -> list[Piece]:
    """How far the request under way is."""
    return frame({"news": news})


def ask_frame(need: Need) -> list[Piece]:
    """A request under way needs more than it was allowed; ``grant_frame`` or ``error_frame`` answers."""
    return frame({"ask": need})


def taken_frame(nbytes: int) -> list[Piece]:
    """So much of the upload of the request under way was received from its client's connection."""
    return frame({"taken": nbytes})


def read_taken(header: bytes) -> int | None:
    """How much of an upload was taken; None for any other frame."""
    return int(read_header(header)["taken"]) if header.startswith(b'{"taken":') else None


def went_frame(nbytes: int) -> list[Piece]:
    """So much of the answer's body went to its client."""
    return frame({"went": nbytes})


def read_went(header: bytes) -> int | None:
    """How much of an answer went to its client; None for any other frame."""
    return int(read_header(header)["went"]) if header.startswith(b'{"went":') else None


def outlet_frame(outlet: Outlet | None) -> list[Piece]:
    """Where the body of a large answer goes: to the server, to the client whose connection comes beside, or nowhere."""
    if outlet is None:
        return frame({"outlet": None})
    return frame({"outlet": {"beside": outlet.descriptor is not None, "seconds": outlet.seconds, "least": outlet.least_bytes}})


def read_ask(header: bytes) -> Need | None:
    """What a frame asks for; None for any other."""
    return Need(*read_header(header)["ask"]) if header.startswith(b'{"ask":') else None


def grant_frame(allowance: Allowance) -> list[Piece]:
    """What the request under way may have from now on."""
    return frame({"grant": allowance})


def read_header(header: bytes | memoryview) -> dict[str, Any]:
    """The header of a frame. We wrote it: there is nothing around the value, and the encoding need not be found out."""
    found: dict[str, Any] = _decode(str(header, "utf-8"))[0]
    return found


def report_in(header: Mapping[str, Any]) -> Report | None:
    """What the session says that it holds."""
    report = header.get("report")
    return None if report is None else Report(*report)


def done_in(header: Mapping[str, Any]) -> tuple[Mapping[str, int], float]:
    """What the session says that it did: commands by kind, and the seconds for which it waited for its journal."""
    commands, seconds = header.get("done") or ({}, 0.0)
    return commands, float(seconds)


def receive_grant(incoming: Incoming, stopped: Callable[[str], object]) -> Allowance:
    """Wait for the answer to ``ask_frame``; a wish to stop that comes meanwhile is passed on. Raises what it was refused with."""
    while True:
        received = incoming.header()
        if received is None:
            raise ServerGone
        header = received[0]
        if "stop" in header:
            stopped(str(header["stop"]))
        elif "problem" in header:
            raise errors.from_problem(header["problem"])
        else:
            return Allowance(*header["grant"])


def read_news(header: bytes) -> News | None:
    """The news that a frame brings; None for one that is an answer."""
    if not header.startswith(b'{"news":'):
        return None
    found: News = read_header(header)["news"]
    return found


def read_answer(
    value: Mapping[str, Any], body: bytes | bytearray, stream: Stream | None = None, stream_bytes: int = 0
) -> Answer | TelegradError | Fault:
    """What a frame from the session's process says; ``value`` is its header."""
    if "fault" in value:
        return Fault(str(value["fault"]))
    if "problem" in value:
        return errors.from_problem(value["problem"])
    pieces = (body if isinstance(body, bytes) else memoryview(body),) if body else ()
    headers = tuple([(str(name), str(text)) for name, text in value.get("headers", ())])
    return Answer(pieces, value["media_type"], value["status"], value.get("created"), stream, stream_bytes, headers)


# In the session's process, which does one thing at a time: plain blocking calls. --------------------------------------------------


def send(connection: socket.socket, pieces: Sequence[Piece]) -> None:
    """Send all pieces without joining them."""
    if len(pieces) == 1:
        connection.sendall(pieces[0])
        return
    waiting = [memoryview(p).cast("B") for p in pieces if len(p)]
    while waiting:
        sent = connection.sendmsg(waiting[:_MOST_PIECES])
        while waiting and sent >= len(waiting[0]):
            sent -= len(waiting.pop(0))
        if sent:
            waiting[0] = waiting[0][sent:]


class Incoming:
    """What comes over a connection. A small frame is received in one call; the rest of a large one goes straight to its place.

    Attributes:
        descriptors: that came and are not taken yet, in order.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Receive what comes over the worker's end of a socket pair."""
        self._connection = connection
        self._shares = shared.can_share(connection)
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._begin = self._end = 0
        self.descriptors: list[int] = []

    def _receive(self) -> bool:
        """Receive what is there, when all before is used; False where the other side has closed."""
        self._begin = self._end = 0
        if self._shares:
            got, beside, _, _ = self._connection.recvmsg_into([self._scratch], _BESIDE_BYTES)
            for _, kind, data in beside:
                if kind == socket.SCM_RIGHTS:
                    self.descriptors += struct.unpack(f"{len(data) // _INT.size}i", data)
        else:
            got = self._connection.recv_into(self._scratch)
        self._end = got
        return got > 0

    def fill(self, view: memoryview) -> bool:
        """Receive exactly as much as the view holds; False where the other side has closed."""
        while len(view):
            if self._begin < self._end:
                got = min(len(view), self._end - self._begin)
                view[:got] = self._scratch[self._begin : self._begin + got]
                self._begin += got
            elif len(view) < _SCRATCH_BYTES:
                if not self._receive():
                    return False
                continue
            else:  # in the middle of a frame: descriptors come with its head
                got = self._connection.recv_into(view)
                if not got:
                    return False
            view = view[got:]
        return True

    def take(self, nbytes: int) -> bytes | None:
        """Receive so many bytes; None where the other side has closed."""
        if self._begin == self._end and nbytes and not self._receive():
            return None
        begin, end = self._begin, self._begin + nbytes
        if end <= self._end:  # in one call with what came before it, as almost always
            self._begin = end
            return bytes(self._scratch[begin:end])
        found = bytearray(nbytes)
        return bytes(found) if self.fill(memoryview(found)) else None

    def skip(self, nbytes: int) -> None:
        """Receive so many bytes, and forget them."""
        while nbytes and (self._begin < self._end or self._receive()):
            got = min(nbytes, self._end - self._begin)
            self._begin += got
            nbytes -= got

    def has_something(self) -> bool:
        """Whether something has come, or the other side has closed. Does not wait."""
        return self._begin < self._end or bool(select.select([self._connection], [], [], 0)[0])

    def header(self) -> tuple[dict[str, Any], int] | None:
        """The header of the next frame, and the bytes of its body; None where the server has closed the connection."""
        if self._begin == self._end and not self._receive():
            return None
        begin = self._begin + HEAD.size
        if begin <= self._end:
            header_bytes, body_bytes = HEAD.unpack_from(self._scratch, self._begin)
            end = begin + header_bytes
            if end <= self._end:  # it is here, as almost always
                self._begin = end
                return read_header(self._scratch[begin:end]), body_bytes
        head = self.take(HEAD.size)
        if head is None:
            return None
        header_bytes, body_bytes = HEAD.unpack(head)
        text = self.take(header_bytes)
        return None if text is None else (read_header(text), body_bytes)


def send_answer(connection: socket.socket, incoming: Incoming, pieces: Sequence[Piece]) -> None:
    """Send the frame of an answer; a large body there where the server says. Raises BrokenPipeError where the server is gone."""
    if len(pieces) == 1:  # as almost always
        connection.sendall(pieces[0])
        return
    first, *body = pieces
    if sum(len(piece) for piece in body) <= LARGE_ANSWER_BYTES:
        send(connection, pieces)
        return
    send(connection, [first])
    while True:
        received = incoming.header()
        if received is None:
            raise BrokenPipeError
        if "outlet" in received[0]:  # else a wish to stop, when there is nothing to stop any more
            break
    found = received[0]["outlet"]
    if found is None:
        send(connection, went_frame(0))
    elif not found["beside"]:
        send(connection, body)
    else:
        descriptor = incoming.descriptors.pop(0)
        try:
            send(connection, went_frame(deliver(Outlet(descriptor, found["seconds"], found["least"]), body)))
        finally:
            os.close(descriptor)


def receive_stop(incoming: Incoming) -> str | None:
    """Why the request under way is to stop; None where nobody said so. Does not wait."""
    if not incoming.has_something():
        return None
    # Nothing else comes while a request is under way: a wish to stop, or the end of the server.
    received = incoming.header()
    if received is None:
        raise ServerGone
    return str(received[0]["stop"])


def receive_work(incoming: Incoming) -> Work | None:
    """The next request; None where the server has closed the connection. ``receive_upload`` gets what it still lacks.

    Raises LimitError where there is no memory for it, and it has been skipped; InternalError for a frame that is none.
    """
    while True:
        received = incoming.header()
        if received is None:
            return None
        header, body_bytes = received
        if "stop" not in header:  # one that came when there was nothing to stop any more
            break
    if "upload" in header:
        return _receive_head(incoming, header, body_bytes)
    if "buffers" not in header and header["body"] == body_bytes <= _JOIN_BYTES:
        body = incoming.take(body_bytes)
        return None if body is None else _work(header, body, {})
    beside = header.get("beside", ())
    descriptors, incoming.descriptors = incoming.descriptors[: len(beside)], incoming.descriptors[len(beside) :]
    try:
        return _receive_rest(incoming, header, body_bytes, dict(zip(beside, descriptors, strict=True)))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _receive_rest(incoming: Incoming, header: dict[str, Any], body_bytes: int, descriptors: Mapping[str, int]) -> Work | None:
    layout = [(name, np.dtype(dtype), tuple(shape), beside) for name, dtype, shape, beside in header.get("buffers", ())]
    listed = header["body"] + sum(math.prod(shape) * dtype.itemsize for _, dtype, shape, beside in layout if not beside)
    if listed != body_bytes:
        raise InternalError(f"a frame says {body_bytes:,} bytes and lists {listed:,}")
    try:
        body = bytearray(header["body"])
        buffers: dict[str, Array] = {
            name: shared.adopt(descriptors[name], shape, dtype) if beside else np.empty(shape, dtype)
            for name, dtype, shape, beside in layout
        }
    except MemoryError:
        incoming.skip(body_bytes)
        raise LimitError("the session's process has not enough memory for this request; release tensors, or send less") from None
    sent = [codec.array_bytes(buffers[name]) for name, _, _, beside in layout if not beside]
    for view in (memoryview(body), *sent):
        if not incoming.fill(view):
            return None
    return _work(header, bytes(body), buffers)


def _work(header: Mapping[str, Any], body: bytes, buffers: Mapping[str, Array], upload: Upload | None = None) -> Work:
    allowance = Allowance(*header["allowance"]) if "allowance" in header else None
    media_type, request_id, client, number, key, turn = header["names"]
    arguments = header.get("arguments", {})
    return Work(
        *(header["verb"], body, arguments, buffers),
        *(media_type, request_id, client, number, key, turn),
        allowance,
        upload=upload,
        stopped=header.get("stopped", ""),
    )


def _receive_head(incoming: Incoming, header: dict[str, Any], body_bytes: int) -> Work | None:
    """A request without its arrays."""
    descriptor = incoming.descriptors.pop(0)
    given = header["upload"]
    if header["body"] + given["first"] != body_bytes:
        raise InternalError(f"a frame says {body_bytes:,} bytes and lists {header['body'] + given['first']:,}")
    text = bytearray(body_bytes)
    if not incoming.fill(memoryview(text)):
        return None
    layout = [(name, np.dtype(dtype), tuple(shape)) for name, dtype, shape in given["layout"]]
    upload = Upload(layout, [memoryview(text)[header["body"] :]], given["missing"], descriptor, given["seconds"])
    return _work(header, bytes(text[: header["body"]]), {}, upload)


def receive_upload(work: Work, upload: Upload) -> Work:
    """The request with its arrays, received from its client's connection; ``upload.taken`` says how much of them came.

    Raises LimitError where there is no memory for them, RequestTimeoutError where they did not come in time, and RequestError
    for arrays that are none.
    """
    upload.taken = 0
    try:
        buffers: dict[str, Array] = {name: np.empty(shape, dtype) for name, dtype, shape in upload.layout}
    except MemoryError:
        raise LimitError("the session's process has not enough memory for this request; release tensors, or send less") from None
    targets: list[memoryview] = []
    (first,) = upload.first
    for array in buffers.values():
        view = codec.array_bytes(array)
        came = min(len(view), len(first))
        if came:  # the memory of an empty array is read-only
            view[:came] = first[:came]
        first = first[came:]
        targets.append(view[came:])
    arriving = Arriving(buffers if work.repeats else {}, sum(len(view) for view in upload.first))
    upload.taken = receive(upload.descriptor, targets, upload.seconds, arriving.came)
    if upload.taken < upload.missing:
        raise RequestTimeoutError("the rest of the body did not arrive in time; nothing was done")
    for array in buffers.values():
        codec.as_bool(array)
    return replace(work, buffers=Arrived(buffers, arriving.finish()), upload=None)
