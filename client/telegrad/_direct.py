"""The fast transport: HTTP/1.1 straight over a socket to a plain ``http://`` address, read by httptools, the server's own parser.

On a small call the HTTP library is most of the price (measured: httpx2 460 µs a request, this 70, with a server that takes 60 of
them); a large body goes from the arrays to the socket and from the socket into arrays, without a copy in between. Everything else
about HTTP (TLS, proxies, other event loops, test doubles) is httpx2's, which takes over wherever an address needs it.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import httptools

from telegrad import _defaults
from telegrad._transport import NotSent, Request, Response, Sink, failed, is_to_be_compressed, not_reached, pieces, timed_out
from telegrad._version import __version__
from telegrad.contract import compression
from telegrad.contract.errors import TransportError

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PLAIN_TEXT: Final = re.compile(r"[\x21-\x7e]*")

_LONGEST_SECONDS: Final = 10**6  # for which the kernel can be told to wait

_OWN_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-encoding", "content-length", "expect", "transfer-encoding"}
)
"""What says how the bytes travel: a caller who wants another way gets the whole library."""


def serves(url: str, headers: Mapping[str, str]) -> bool:
    """Whether this transport can do all that requests to ``url`` with these extra headers need."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = parts.scheme == "http" and host and "@" not in parts.netloc and not parts.query and not parts.fragment
    if not plain or not _PLAIN_TEXT.fullmatch(url) or _needs_proxy(parts):
        return False
    return all(_is_plain(name, value) for name, value in headers.items())


def _is_plain(name: Any, value: Any) -> bool:
    """Whether it is a header as any other; the library says what is wrong with one that is none."""
    if type(name) is not str or type(value) is not str or name.lower() in _OWN_HEADERS:
        return False
    return bool(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value))


def _needs_proxy(parts: SplitResult) -> bool:
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    return ("http" in proxies or "all" in proxies) and not proxy_bypass(parts.hostname or "")


class _Connection(NamedTuple):
    """An open connection that waits for its next request, and since when on the monotonic clock."""

    socket: socket.socket
    used: float


class _Answer:
    """One answer as the parser tells it."""

    def __init__(self, hear: Callable[[dict[str, Any]], object] | None) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self._hear = hear
        self.headers: dict[str, str] = {}
        self.sink: Sink | None = None
        self.taken = 0
        self.wanted = True
        self.complete = False
        self.surplus = False
        self.keep_alive = False

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            # Nobody asked for more: what else comes over this connection cannot be trusted.
            self.surplus, self.keep_alive = True, False
        else:
            self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.surplus:
            return
        key, text = str(name, "latin-1").lower(), str(value, "latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 and not self.surplus:  # what comes before 200 says only to wait
            self.keep_alive = self.parser.should_keep_alive()
            self.sink = Sink(status, self.headers, self._hear)

    def on_body(self, piece: bytes) -> None:
        if self.sink is not None and not self.surplus:
            self.taken += len(piece)
            self.wanted = self.sink.feed(piece) and self.wanted

    def on_message_complete(self) -> None:
        self.complete = self.sink is not None

    # What the transport asks.

    def forget_parser(self) -> None:
        """Nothing more will come. The parser and this hold each other, and would be the collector's work."""
        del self.parser

    def rest(self) -> int:
        """Bytes of the body that have not come yet; 0 where only its end will tell."""
        if self.complete or "transfer-encoding" in self.headers:
            return 0
        return max(0, int(self.headers.get("content-length", "0")) - self.taken)

    def end(self) -> None:
        """The server hung up: the end of a body whose length nobody told, otherwise a failure. Raises TransportError."""
        self.keep_alive = False
        self.complete = self.sink is not None and not self.headers.keys() & {"content-length", "transfer-encoding"}
        if not self.complete:
            raise failed("the server hung up in the middle of its answer" if self.headers else "the server hung up")


class DirectTransport:
    """See ``Transport``. Connections are kept alive; one that the server closed meanwhile is noticed before anything is sent."""

    def __init__(self, url: str, *, timeout_seconds: float, headers: Mapping[str, str] | None, compress: bool = False) -> None:
        """See ``telegrad.connect``. ``serves`` must hold."""
        parts = urlsplit(url)
        self._url = url
        self._address = (parts.hostname or "", parts.port or 80)
        self._prefix = parts.path
        self._timeout_seconds = timeout_seconds
        self._compress = compress
        shown = {"host": parts.netloc, "user-agent": f"telegrad/{__version__}"}
        shown.update({name.lower(): value for name, value in (headers or {}).items()})
        if compress:
            shown["accept-encoding"] = compression.ZSTD
        self._accept_given = "accept" in shown
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close_all, self._idle)

    def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        return self.begin(request).finish()

    def begin(self, request: Request) -> _Begun:
        """Send, and leave the answer to be read later."""
        connection = self._connection()
        try:
            self._write(connection, request)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise _as_failure(error) from error
            raise
        return _Begun(self._idle, connection, request.hear)

    def close(self) -> None:
        """Close all connections."""
        _close_all(self._idle)

    def _connection(self) -> socket.socket:
        """A connection that is open: a kept one, or a new one. Raises NotSent."""
        while self._idle:
            kept = self._idle.pop()
            if time.monotonic() - kept.used < _defaults.KEEP_ALIVE_SECONDS and _is_silent(kept.socket):
                return kept.socket
            kept.socket.close()
        try:
            made = socket.create_connection(self._address, min(_defaults.CONNECT_TIMEOUT_SECONDS, self._timeout_seconds))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _bound(made, self._timeout_seconds)
        except OSError as error:
            raise NotSent(not_reached(self._url, str(error), error)) from error
        return made

    def _write(self, connection: socket.socket, request: Request) -> None:
        lines = [f"{request.method} {self._prefix}{request.path} HTTP/1.1\r\n", self._headers]
        if not self._accept_given:
            lines.append(f"accept: {request.accept}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in request.headers.items()]
        size = sum(len(piece) for piece in request.body)
        compressed = is_to_be_compressed(request, self._compress)
        if compressed:
            lines.append(
                f"content-type: {request.media_type}\r\ncontent-encoding: {compression.ZSTD}\r\ntransfer-encoding: chunked\r\n"
            )
        elif request.body:
            lines.append(f"content-type: {request.media_type}\r\ncontent-length: {size}\r\n")
        elif request.method != "GET":
            lines.append("content-length: 0\r\n")
        head = "".join([*lines, "\r\n"]).encode("latin-1")
        if size <= _defaults.SEND_PIECE_BYTES and not compressed:
            connection.sendall(b"".join([head, *request.body]))
            return
        try:
            connection.sendall(head)
            for piece in _chunks(request) if compressed else pieces(request.body):
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return  # a server that refuses the body may have answered before it hung up: the answer tells why


class _Begun:
    """See ``Begun``. Until it is read, the answer waits in the socket."""

    def __init__(self, idle: list[_Connection], connection: socket.socket, hear: Callable[[dict[str, Any]], object] | None) -> None:
        """``idle`` takes the connection once the answer was read."""
        self._idle = idle
        self._connection = connection
        self._hear = hear

    def is_answered(self) -> bool:
        """Whether the answer has begun to come, or never will."""
        return not _is_silent(self._connection)

    def finish(self) -> Response:
        """Read the whole answer."""
        keep = False
        try:
            answer = _Answer(self._hear)
            try:
                self._read(self._connection, answer)
            finally:
                answer.forget_parser()
            keep = answer.complete and answer.keep_alive
            return cast(Sink, answer.sink).finish()
        except httptools.HttpParserCallbackError as error:
            raise cast(Exception, error.__context__) from None  # what a callback above raised
        except (OSError, httptools.HttpParserError) as error:
            raise _as_failure(error) from error
        finally:
            if keep:
                self._idle.append(_Connection(self._connection, time.monotonic()))
            else:
                self._connection.close()

    def abandon(self) -> None:
        """Nobody will read the answer."""
        self._connection.close()

    def _read(self, connection: socket.socket, answer: _Answer) -> None:
        while True:
            piece = connection.recv(_defaults.RECEIVE_PIECE_BYTES)
            if not piece:
                answer.end()
                return
            answer.parser.feed_data(piece)
            sink = answer.sink
            if sink is None:
                continue
            rest = answer.rest()
            if answer.wanted and rest:
                # Nothing but body: no need for the parser to look at it, nor for a buffer on its way.
                answer.wanted = _receive(connection, rest, sink)
                answer.complete = answer.wanted
            if answer.complete or not answer.wanted:
                return


def _as_failure(error: Exception) -> TransportError:
    """What a user is told of a connection that broke."""
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return timed_out("nothing has come for too long")
    return failed(str(error) or type(error).__name__)


def _chunks(request: Request) -> Iterator[bytes]:
    """The body compressed, in chunks: how long it will be nobody knows."""
    for piece in compression.compress(pieces(request.body)):
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _receive(connection: socket.socket, count: int, sink: Sink) -> bool:
    """Receive so many bytes of a body; False when no more is wanted."""
    while count:
        target = sink.target()
        if target is None:
            piece = connection.recv(min(count, _defaults.RECEIVE_PIECE_BYTES))
            received = len(piece)
            if received and not sink.feed(piece):
                return False
        else:
            received = connection.recv_into(target, min(count, len(target)))
            sink.advance(received)
        if not received:
            raise failed("the server hung up in the middle of its answer")
        count -= received
    return True


def _bound(connection: socket.socket, seconds: float) -> None:
    """Have whoever waits for the connection so long get a BlockingIOError.

    By the kernel: with Python's own timeouts each call polls first, which is four system calls of a small request.
    """
    connection.settimeout(None)
    milliseconds = max(1, int(min(seconds, _LONGEST_SECONDS) * 1000))
    limit: Any = milliseconds if sys.platform == "win32" else struct.pack("@ll", milliseconds // 1000, milliseconds % 1000 * 1000)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def _is_silent(connection: socket.socket) -> bool:
    """Whether a connection is open and nothing has come over it."""
    if sys.platform == "win32":  # which has no such flag
        connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        if sys.platform == "win32":
            connection.setblocking(True)
    return False


def _close_all(idle: list[_Connection]) -> None:
    while idle:
        idle.pop().socket.close()
