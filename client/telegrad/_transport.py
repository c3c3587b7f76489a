"""How requests travel: a small interface, and its two drivers around httpx2; ``_direct`` has faster ones for plain addresses.

The logic of retries and batches is elsewhere and knows no I/O: *procedures*, generators that yield ``Request`` and ``Pause``
and are sent ``Response`` (or thrown ``NotSent`` or ``TransportError``). The two drivers run the same procedures, one by
blocking, one by awaiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from telegrad import _buffers, _defaults
from telegrad.contract import codec, compression, safetensors
from telegrad.contract.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    PayloadTooLargeError,
    RequestError,
    TransportError,
    TransportTimeoutError,
)

if TYPE_CHECKING:
    import httpx2

R = TypeVar("R")

Piece: TypeAlias = "bytes | memoryview"


@dataclass(slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: GET, POST, DELETE.
        path: below the server's address, beginning with ``/v1``.
        body: pieces, sent in order; empty for none.
        media_type: of the body.
        accept: media types of the answer.
        repeatable: whether sending it twice does no harm, so that it may be tried again when nobody knows whether it was done.
        headers: of this request alone, such as those by which the server knows it again.
        attempts: how many times it was sent.
        hear: of a request for events: called with the data of each ``progress``, as they come.
    """

    method: str
    path: str
    body: Sequence[Piece] = ()
    media_type: str = codec.JSON_MEDIA_TYPE
    accept: str = codec.JSON_MEDIA_TYPE
    repeatable: bool = False
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    attempts: int = 0
    hear: Callable[[dict[str, Any]], object] | None = None


@dataclass(slots=True)
class Response:
    """One answer.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: the whole body, unless it was safetensors.
        arrays: of a safetensors body.
        message: the JSON value of a safetensors body, and of a good JSON one once it was looked at.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    arrays: Mapping[str, codec.Array] = field(default_factory=dict[str, codec.Array])
    message: Any = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before going on."""

    seconds: float


class NotSent(Exception):  # noqa: N818 - a signal between driver and procedure, never shown to users
    """The server was not reached: nothing of the request arrived, so sending it again is safe. Carries the user's error."""

    def __init__(self, error: TransportError) -> None:
        super().__init__()
        self.error = error


Procedure: TypeAlias = "Generator[Request | Pause, Response | None, R]"


class Transport(Protocol):
    """Sends a request and waits for the answer. Raises NotSent where nothing was sent, else TransportError."""

    def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class Begun(Protocol):
    """A request that was sent, and whose answer nobody has read."""

    def is_answered(self) -> bool:
        """Whether the answer has begun to come, or never will."""
        ...

    def finish(self) -> Response:
        """Read the whole answer. Raises TransportError."""
        ...

    def abandon(self) -> None:
        """Let go of it: nobody will read the answer."""
        ...


@runtime_checkable
class Pipelined(Transport, Protocol):
    """A transport that can send a request and leave the answer to be read later. Raises as ``send`` does."""

    def begin(self, request: Request) -> Begun:
        """Send."""
        ...


class AsyncTransport(Protocol):
    """As ``Transport``, awaited."""

    async def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def run(procedure: Procedure[R], transport: Transport) -> R:
    """Run a procedure to its end, blocking."""
    try:
        action = next(procedure)
        while True:
            if isinstance(action, Pause):
                sleep(action.seconds)
                action = procedure.send(None)
                continue
            try:
                response = transport.send(action)
            except (NotSent, TransportError) as error:
                action = procedure.throw(error)
            else:
                action = procedure.send(response)
    except StopIteration as stop:
        result: R = stop.value
        return result
    finally:
        procedure.close()


async def run_async(procedure: Procedure[R], transport: AsyncTransport) -> R:
    """Run a procedure to its end, awaiting."""
    try:
        action = next(procedure)
        while True:
            if isinstance(action, Pause):
                await asyncio.sleep(action.seconds)
                action = procedure.send(None)
                continue
            try:
                response = await transport.send(action)
            except (NotSent, TransportError) as error:
                action = procedure.throw(error)
            else:
                action = procedure.send(response)
    except StopIteration as stop:
        result: R = stop.value
        return result
    finally:
        procedure.close()


class Sink:
    """Takes an answer's body as it arrives: safetensors straight into arrays, events to who hears, anything else into bytes."""

    def __init__(self, status: int, headers: Mapping[str, str], hear: Callable[[dict[str, Any]], object] | None = None) -> None:
        self._status = status
        self._headers = headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._reader = (
            safetensors.Reader(max_bytes=_defaults.MAX_ANSWER_BYTES, allocate=_buffers.allocate)
            if media_type == codec.SAFETENSORS_MEDIA_TYPE
            else None
        )
        self._events = Events(hear) if media_type == codec.EVENTS_MEDIA_TYPE else None
        self._body = bytearray()
        self._decompressor = compression.Decompressor() if headers.get("content-encoding") == compression.ZSTD else None

    def feed(self, piece: bytes) -> bool:
        """Take a piece; False when no more is wanted. Raises TransportError for a safetensors body that is none."""
        if self._decompressor is None:
            return self._take(piece)
        with _read_right():
            self._decompressor.feed(piece)
        wanted = True
        while wanted:
            with _read_right():
                made = self._decompressor.read(_defaults.RECEIVE_PIECE_BYTES)
            if not made:
                break
            wanted = self._take(made)
        return wanted

    def _take(self, piece: bytes) -> bool:
        if self._reader is not None:
            with _read_right():
                self._reader.feed(piece)
            return True
        if self._events is not None:
            self._events.feed(piece)
            return True
        self._body += piece
        return self._status < 400 or len(self._body) <= _defaults.MAX_ERROR_BYTES

    def target(self) -> memoryview | None:
        """Where the next bytes of the body belong, for who can put them there himself (then ``advance``); None: ``feed`` them."""
        return None if self._reader is None or self._decompressor is not None else self._reader.target()

    def advance(self, count: int) -> None:
        """So many bytes were put into ``target``."""
        if self._reader is not None:
            self._reader.advance(count)

    def finish(self) -> Response:
        """The whole answer. Raises TransportError for a safetensors body, or a stream of events, that ended early."""
        if self._decompressor is not None and self._status < 400:
            with _read_right():
                self._decompressor.finish()
        if self._events is not None:
            return self._events.finish(self._headers)
        if self._reader is None:
            return Response(self._status, self._headers, bytes(self._body))
        with _read_right():
            arrays, message = self._reader.finish(), self._reader.message
        return Response(self._status, self._headers, b"", arrays, message)


class Events:
    """Reads server-sent events of a long request: tells its progress, and keeps what came of it.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6, as far as telegrad's servers use it.
    """

    def __init__(self, hear: Callable[[dict[str, Any]], object] | None) -> None:
        self._hear = hear
        self._rest = b""
        self._end: tuple[str, bytes] | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        *events, self._rest = (self._rest + piece).split(b"\n\n")
        for text in events:
            fields = dict(
                line.split(b": ", 1) for line in text.split(b"\n") if line and not line.startswith(b":") and b": " in line
            )
            name, data = fields.get(b"event", b""), fields.get(b"data", b"")
            if name == b"progress" and self._hear is not None:
                self._hear(json.loads(data))
            elif name in (b"result", b"problem"):
                self._end = name.decode(), data

    def finish(self, headers: Mapping[str, str]) -> Response:
        """The answer as if it had come without events. Raises TransportError where the end of the stream is missing."""
        if self._end is None:
            raise failed("the stream of events ended before its end")
        name, data = self._end
        if name == "result":
            return Response(200, headers, data)
        status = json.loads(data).get("status", 500)
        return Response(status, {**headers, "content-type": codec.PROBLEM_MEDIA_TYPE}, data)


@contextlib.contextmanager
def _read_right() -> Generator[None]:
    """What is wrong with the bytes of an answer is the connection's fault, not that of anybody's request."""
    try:
        yield
    except (RequestError, PayloadTooLargeError) as error:
        raise failed(f"the answer is broken: {error.detail}") from None


def pieces(body: Sequence[Piece]) -> Iterator[memoryview]:
    """The body in pieces of bounded size, uncopied."""
    limit = _defaults.SEND_PIECE_BYTES
    for piece in body:
        view = memoryview(piece)
        for start in range(0, len(view), limit):
            yield view[start : start + limit]


def _copied_pieces(body: Sequence[Piece]) -> Iterator[bytes]:
    for piece in pieces(body):
        yield bytes(piece)  # httpx2 takes nothing else


async def _async_pieces(body: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in body:
        yield piece


def _is_ours_to_read(headers: Mapping[str, str]) -> bool:
    """Whether the answer has the coding that ``Sink`` reads; others are httpx2's."""
    return headers.get("content-encoding") == compression.ZSTD


def is_to_be_compressed(request: Request, compress: bool) -> bool:
    """Whether the body is worth it, where compression was asked for."""
    return compress and sum(len(p) for p in request.body) >= _defaults.COMPRESS_BYTES


def _content(request: Request, headers: dict[str, str], compress: bool) -> Iterator[bytes] | bytes | None:
    """The body to send, joined where that is cheap; sets the headers that belong to it."""
    if compress:
        headers["accept-encoding"] = compression.ZSTD
    if not request.body:
        return None
    headers["content-type"] = request.media_type
    size = sum(len(p) for p in request.body)
    if is_to_be_compressed(request, compress):
        headers["content-encoding"] = compression.ZSTD
        return compression.compress(pieces(request.body))
    if size <= _defaults.SEND_PIECE_BYTES:
        return b"".join(request.body)
    headers["content-length"] = str(size)
    return _copied_pieces(request.body)


def check_url(url: str) -> str:
    """The server's address without a trailing slash. Raises ArgumentTypeError and ArgumentValueError."""
    if type(url) is not str:
        raise ArgumentTypeError(f"url must be str, not {type(url).__name__}")
    if not url.startswith(("http://", "https://")):
        raise ArgumentValueError('url must begin with http:// or https://, for example "http://127.0.0.1:8000"')
    return url.rstrip("/")


class HttpTransport:
    """The transport for everything: an ``httpx2.Client`` with connections kept alive."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None,
        transport: httpx2.BaseTransport | None,
        compress: bool = False,
    ) -> None:
        """See ``telegrad.connect`` for the parameters."""
        import httpx2

        self._url = check_url(url)
        self._compress = compress
        self._client = httpx2.Client(
            transport=transport,
            timeout=httpx2.Timeout(timeout_seconds, connect=min(_defaults.CONNECT_TIMEOUT_SECONDS, timeout_seconds)),
            headers=dict(headers or {}),
            limits=httpx2.Limits(keepalive_expiry=_defaults.KEEP_ALIVE_SECONDS),
        )

    def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        headers = {"accept": request.accept, **request.headers}
        content = _content(request, headers, self._compress)
        with (
            _translated(self._url),
            self._client.stream(request.method, self._url + request.path, content=content, headers=headers) as answer,
        ):
            sink = Sink(answer.status_code, answer.headers, request.hear)
            for piece in answer.iter_raw() if _is_ours_to_read(answer.headers) else answer.iter_bytes():
                if not sink.feed(piece):
                    break
            return sink.finish()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class AsyncHttpTransport:
    """The default transport of async sessions: an ``httpx2.AsyncClient``."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None,
        transport: httpx2.AsyncBaseTransport | None,
        compress: bool = False,
    ) -> None:
        """See ``telegrad.connect_async`` for the parameters."""
        import httpx2

        self._url = check_url(url)
        self._compress = compress
        self._client = httpx2.AsyncClient(
            transport=transport,
            timeout=httpx2.Timeout(timeout_seconds, connect=min(_defaults.CONNECT_TIMEOUT_SECONDS, timeout_seconds)),
            headers=dict(headers or {}),
            limits=httpx2.Limits(keepalive_expiry=_defaults.KEEP_ALIVE_SECONDS),
        )

    async def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        headers = {"accept": request.accept, **request.headers}
        content = _content(request, headers, self._compress)
        sent = content if content is None or isinstance(content, bytes) else _async_pieces(content)
        with _translated(self._url):
            async with self._client.stream(request.method, self._url + request.path, content=sent, headers=headers) as answer:
                sink = Sink(answer.status_code, answer.headers, request.hear)
                async for piece in answer.aiter_raw() if _is_ours_to_read(answer.headers) else answer.aiter_bytes():
                    if not sink.feed(piece):
                        break
                return sink.finish()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


@contextlib.contextmanager
def _translated(url: str) -> Generator[None]:
    """The HTTP library's failures as telegrad's, for requests to ``url``."""
    import httpx2

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
        raise NotSent(not_reached(url, _reason(error), error)) from error
    except httpx2.TimeoutException as error:
        raise timed_out(_reason(error)) from error
    except (httpx2.TransportError, httpx2.InvalidURL, httpx2.DecodingError) as error:
        raise failed(_reason(error)) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def not_reached(url: str, reason: str, cause: Exception) -> TransportError:
    """The error of a connection that could not be made."""
    # A user name and password in the address stay out of messages.
    where = url.rsplit("@", 1)[-1]
    failure = TransportError(
        f"the server was not reached at {where}: {reason}. Is one running there? `telegrad serve` starts one on this machine"
    )
    failure.__cause__ = cause
    return failure


def timed_out(reason: str) -> TransportTimeoutError:
    """The error of an answer that did not come in time."""
    return TransportTimeoutError(f"the server did not answer in time: {reason}")


def failed(reason: str) -> TransportError:
    """The error of a connection that broke."""
    return TransportError(f"the connection to the server failed: {reason}")
