"""A bad network on loopback: a proxy that cuts connections before, during and after answers, delays, repeats and half closes."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from typing import Final

FAULTS: Final = (
    "refuse",  # nothing of the request arrives
    "cut request",  # a part of it
    "lose answer",  # it is done, and nobody hears of it
    "cut answer",  # half of the answer
    "bad gateway",  # it is done, and another answer comes
    "delay",
    "duplicate",  # it arrives twice, one after the other; the second answer is passed on
    "duplicate at once",  # over two connections
    "late duplicate",  # a request of before comes once more, and nobody waits for its answer
    "half close",  # the answer comes, and no further request can be sent over the connection
)
CUTS: Final = frozenset(FAULTS[:5])

_BAD_GATEWAY: Final = b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"
_RESET: Final = struct.pack("ii", 1, 0)
_LONGEST_SECONDS: Final = 60


class _Hung(Exception):  # noqa: N818 - a signal: one of the two hung up
    """No more comes over this connection."""


class _Reader:
    """Reads whole HTTP messages from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = b""

    def _more(self) -> None:
        piece = self._connection.recv(2**18)
        if not piece:
            raise _Hung
        self._left += piece

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._left:
            self._more()
        end = self._left.index(mark) + len(mark)
        found, self._left = self._left[:end], self._left[end:]
        return found

    def _exactly(self, count: int) -> bytes:
        parts = [self._left[:count]]
        missing = count - len(parts[0])
        self._left = self._left[count:]
        while missing:
            piece = self._connection.recv(min(missing, 2**18))
            if not piece:
                raise _Hung
            parts.append(piece)
            missing -= len(piece)
        return b"".join(parts)

    def message(self) -> bytes:
        """The next message, head and body."""
        head = self._until(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            body = b""
            while True:
                size = self._until(b"\r\n")
                chunk = self._exactly(int(size.split(b";")[0], 16) + 2)
                body += size + chunk
                if len(chunk) == 2:
                    return head + body
        return head + self._exactly(int(fields.get(b"content-length", b"0")))


class Chaos:
    """The proxy.

    Attributes:
        url: its address.
        counts: how many faults of each kind there were, and how many requests.
        share: of the requests that meet a fault.
        next: faults for the next requests, before any by chance.
    """

    def __init__(self, port: int, *, share: float = 0.0, seed: int = 0, faults: tuple[str, ...] = FAULTS) -> None:
        """Stand before the server on ``port``."""
        self.port, self.share = port, share
        self.counts: Counter[str] = Counter()
        self.next: deque[str] = deque()
        self._faults = faults
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._earlier: deque[bytes] = deque(maxlen=8)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def cuts(self) -> int:
        """Requests that were not answered."""
        return sum(self.counts[fault] for fault in CUTS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(_LONGEST_SECONDS)
        upstream: socket.socket | None = None
        reader = _Reader(client)
        with contextlib.suppress(OSError, _Hung), client:
            try:
                while True:
                    request = reader.message()
                    if upstream is None:
                        upstream = self._connect()
                    answer = self._exchange(client, upstream, request)
                    if answer is None:
                        return
                    client.sendall(answer)
                    if b"connection: close" in answer[:2000].lower():
                        return
            finally:
                if upstream is not None:
                    upstream.close()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), _LONGEST_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _fault(self, request: bytes) -> str:
        with self._lock:
            self.counts["requests"] += 1
            fault = ""
            if self.next:
                fault = self.next.popleft()
            elif self._dice.random() < self.share:
                fault = self._dice.choice(self._faults)
            self.counts[fault or "none"] += 1
            if request.startswith(b"POST"):
                self._earlier.append(request)
            return fault

    def _exchange(self, client: socket.socket, upstream: socket.socket, request: bytes) -> bytes | None:
        """What is to be sent to the client; None to hang up."""
        fault = self._fault(request)
        if fault == "refuse":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return None
        if fault == "cut request":
            upstream.sendall(request[: len(request) // 2])
            return None
        if fault == "delay":
            time.sleep(0.02)
        if fault == "late duplicate":
            with self._lock:
                earlier = self._earlier[0] if self._earlier else request
            self._send_aside(earlier)
        beside = None
        if fault == "duplicate at once":
            beside = threading.Thread(target=self._send_aside, args=(request,), daemon=True)
            beside.start()
        answer = self._ask(upstream, request)
        if beside is not None:
            beside.join(_LONGEST_SECONDS)
        if fault == "duplicate":
            answer = self._ask(upstream, request)
        if fault == "lose answer":
            return None
        if fault == "cut answer":
            client.sendall(answer[: max(1, len(answer) * 2 // 3)])
            return None
        if fault == "bad gateway":
            return _BAD_GATEWAY
        if fault == "half close":
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            return None
        return answer

    @staticmethod
    def _ask(upstream: socket.socket, request: bytes) -> bytes:
        upstream.sendall(request)
        return _Reader(upstream).message()

    def _send_aside(self, request: bytes) -> None:
        with contextlib.suppress(OSError, _Hung), self._connect() as aside:
            self._ask(aside, request)
