"""The fast transports: HTTP/1.1 straight over a socket to a plain ``http://`` address, read by httptools, the server's own parser.

On a small call the HTTP library is most of the price (measured: httpx2 460 µs a request, this 70, with a server that takes 60 of
them); a large body goes from the arrays to the socket and from the socket into arrays, without a copy in between. Everything else
about HTTP (TLS, proxies, other event loops, test doubles) is httpx2's, which takes over wherever an address needs it.

What is said and how it is read is written once, without I/O: ``Line`` and ``reading``. The transports, one that blocks and one that
is awaited, move the bytes.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import sys
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, NoReturn, cast
from urllib.parse import SplitResult, urlsplit

import httptools

from telegrad import _defaults
from telegrad._transport import NotSent, Piece, Request, Response, Sink, failed, is_to_be_compressed, not_reached, pieces, timed_out
from telegrad._version import __version__
from telegrad.contract import compression, neighbours

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


class Line:
    """How requests to one address are written, and the connections to it that are open and wait for their next request.

    Attributes:
        url: the address.
        address: host and port.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None, compress: bool) -> None:
        """See ``telegrad.connect``. ``serves`` must hold."""
        parts = urlsplit(url)
        self.url = url
        self.address = (parts.hostname or "", parts.port or 80)
        self._prefix = parts.path
        self._compress = compress
        shown = {"host": parts.netloc, "user-agent": f"telegrad/{__version__}"}
        shown.update({name.lower(): value for name, value in (headers or {}).items()})
        # Without the header, a gateway may compress as it likes.
        shown["accept-encoding"] = compression.ZSTD if compress else "identity"
        self._accept_given = "accept" in shown
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
        self._idle: list[tuple[socket.socket, float]] = []
        weakref.finalize(self, _close_all, self._idle)

    def written(self, request: Request) -> tuple[bytes, Iterator[Piece]]:
        """The head, with a short body, and the pieces of a longer one."""
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
            return b"".join([head, *request.body]), iter(())
        return head, _chunks(request) if compressed else pieces(request.body)

    def kept(self) -> socket.socket | None:
        """An open connection, if there is one. What the server closed meanwhile is noticed before anything is sent."""
        while self._idle:
            connection, used = self._idle.pop()
            if time.monotonic() - used < _defaults.KEEP_ALIVE_SECONDS and is_silent(connection):
                return connection
            connection.close()
        return None

    def leave(self, connection: socket.socket, answer: Answer | None) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
        if answer is not None and answer.complete and answer.keep_alive:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        _close_all(self._idle)


class Answer:
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
            coding = self.headers.get("content-encoding", "identity")
            if coding not in ("identity", compression.ZSTD):
                raise failed(f"the answer is compressed by {coding}, which was not asked for")
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


def reading(answer: Answer) -> Generator[memoryview | int, Any, None]:
    """Read an answer; a procedure without I/O.

    Yields how many bytes are wanted at most, and is sent what has come; or memory to fill, and is sent how many bytes were put
    there.
    """
    while True:
        piece = yield _defaults.RECEIVE_PIECE_BYTES
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
            answer.wanted = yield from _filling(sink, rest)
            answer.complete = answer.wanted
        if answer.complete or not answer.wanted:
            return


def _filling(sink: Sink, count: int) -> Generator[memoryview | int, Any, bool]:
    """Receive so many bytes of a body; False when no more is wanted."""
    while count:
        target = sink.target()
        if target is None:
            piece = yield min(count, _defaults.RECEIVE_PIECE_BYTES)
            received = len(piece)
            if received and not sink.feed(piece):
                return False
        else:
            received = yield target[:count]
            sink.advance(received)
        if not received:
            raise failed("the server hung up in the middle of its answer")
        count -= received
    return True


def give_up(error: Exception) -> NoReturn:
    """Raise a callback's own error, or what a user is told of a broken connection."""
    if isinstance(error, httptools.HttpParserCallbackError):
        raise cast(Exception, error.__context__) from None
    if isinstance(error, httptools.HttpParserUpgrade):
        raise failed("the answer begins another protocol, which was not asked for") from error
    if isinstance(error, (TimeoutError, BlockingIOError)):
        raise timed_out("nothing has come for too long") from error
    raise failed(str(error) or type(error).__name__) from error


FAULTS: Final = (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade)
"""What ``give_up`` knows."""

HUNG_UP: Final = (BrokenPipeError, ConnectionResetError)
"""While a long body is sent: a server that refuses it may have answered before it hung up, and the answer tells why."""


class DirectTransport:
    """See ``Pipelined``. Connections are kept alive."""

    def __init__(self, url: str, *, timeout_seconds: float, headers: Mapping[str, str] | None, compress: bool = False) -> None:
        """See ``telegrad.connect``. ``serves`` must hold."""
        self._line = Line(url, headers, compress)
        self._timeout_seconds = timeout_seconds

    def send(self, request: Request) -> Response:
        """Send, and read the whole answer."""
        return self.begin(request).finish()

    def begin(self, request: Request) -> _Begun:
        """Send, and leave the answer to be read later."""
        connection = self._line.kept() or self._connect()
        try:
            head, body = self._line.written(request)
            connection.sendall(head)
            with contextlib.suppress(*HUNG_UP):
                for piece in body:
                    connection.sendall(piece)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                give_up(error)
            raise
        return _Begun(self._line, connection, request.hear)

    def close(self) -> None:
        """Close all connections."""
        self._line.close()

    def _connect(self) -> socket.socket:
        """A new connection. Raises NotSent."""
        try:
            made = socket.create_connection(self._line.address, min(_defaults.CONNECT_TIMEOUT_SECONDS, self._timeout_seconds))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            neighbours.unpace(made)
            _bound(made, self._timeout_seconds)
        except (OSError, UnicodeError) as error:  # the latter of a name that none can have
            raise NotSent(not_reached(self._line.url, str(error), error)) from error
        return made


class _Begun:
    """See ``Begun``. Until it is read, the answer waits in the socket."""

    def __init__(self, line: Line, connection: socket.socket, hear: Callable[[dict[str, Any]], object] | None) -> None:
        self._line = line
        self._connection = connection
        self._hear = hear

    def is_answered(self) -> bool:
        """Whether the answer has begun to come, or never will."""
        return not is_silent(self._connection)

    def finish(self) -> Response:
        """Read the whole answer."""
        answer, connection = Answer(self._hear), self._connection
        read: Answer | None = None
        try:
            received: Any = None
            steps = reading(answer)
            with contextlib.suppress(StopIteration):
                while True:
                    wanted = steps.send(received)
                    received = connection.recv(wanted) if isinstance(wanted, int) else connection.recv_into(wanted)
            read = answer
            return cast(Sink, answer.sink).finish()
        except FAULTS as error:
            give_up(error)
        finally:
            answer.forget_parser()
            self._line.leave(connection, read)

    def abandon(self) -> None:
        """Nobody will read the answer."""
        self._connection.close()


def _chunks(request: Request) -> Iterator[bytes]:
    """The body compressed, in chunks: how long it will be nobody knows."""
    for piece in compression.compress(pieces(request.body)):
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _bound(connection: socket.socket, seconds: float) -> None:
    """Have whoever waits for the connection so long get a BlockingIOError.

    By the kernel: with Python's own timeouts each call polls first, which is four system calls of a small request.
    """
    connection.settimeout(None)
    milliseconds = max(1, int(min(seconds, _LONGEST_SECONDS) * 1000))
    limit: Any = milliseconds if sys.platform == "win32" else struct.pack("@ll", milliseconds // 1000, milliseconds % 1000 * 1000)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def is_silent(connection: socket.socket) -> bool:
    """Whether a connection is open and nothing has come over it: bytes without a request, or the end, make it useless."""
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


def _close_all(idle: list[tuple[socket.socket, float]]) -> None:
    while idle:
        idle.pop()[0].close()
