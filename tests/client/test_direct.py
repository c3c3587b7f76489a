"""The transport straight over a socket: framing, connections that went stale, and when httpx2 takes over."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import telegrad
from telegrad import _defaults, _direct
from telegrad._connect import open_async_transport, open_transport
from telegrad._direct import DirectTransport, Line
from telegrad._direct_async import AsyncDirectTransport
from telegrad._transport import AsyncHttpTransport, HttpTransport, NotSent, Request, Response
from telegrad.contract import codec, safetensors
from telegrad.errors import TransportError, TransportTimeoutError
from tests.client.wire import Wire
from tests.places import server_url

Script = Callable[[socket.socket, int], bool]
"""Does something with a connection, the how manieth is given, after a request has come whole; False hangs up."""

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Scripted:
    """A server of one test that answers as it is told.

    Attributes:
        url: its address.
        requests: heads and bodies of what came, in order, with the number of their connection.
        connections: in the order of their making.
        script: what it does with each request.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[tuple[int, bytes, bytes]] = []
        self.connections: list[socket.socket] = []
        self.script: Script = lambda connection, number: answer(connection, OK)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads.append(thread)
            thread.start()
            number += 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        # A client that found something amiss hangs up as well.
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as stream:
            connection.settimeout(20)
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    head += line
                length = next((int(h[15:]) for h in head.split(b"\r\n") if h.startswith(b"content-length:")), 0)
                self.requests.append((number, head, stream.read(length)))
                if not self.script(connection, number):
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)


def answer(connection: socket.socket, *parts: bytes) -> bool:
    for part in parts:
        connection.sendall(part)
    return True


def always(*parts: bytes, stay: bool = True) -> Script:
    return lambda connection, number: answer(connection, *parts) and stay


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


class Awaited:
    """The transport of async sessions, for tests that wait."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._inner = AsyncDirectTransport(url, **options)

    def send(self, request: Request) -> Response:
        return self._loop.run_until_complete(self._inner.send(request))

    @property
    def _line(self) -> Line:
        return self._inner._line

    def close(self) -> None:
        self._loop.run_until_complete(self._inner.close())
        self._loop.close()


def something_came(transport: Any) -> None:
    """Wait until the connection that is kept has something to be read."""
    ((kept, _),) = transport._line._idle
    assert select.select([kept], [], [], 5)[0]


@pytest.fixture(params=[DirectTransport, Awaited])
def kind(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Either transport."""
    return request.param


@pytest.fixture
def transport(server: Scripted, kind: Callable[..., Any]) -> Iterator[Any]:
    made = kind(server.url, timeout_seconds=5, headers={"X-Key": "k"})
    yield made
    made.close()


GET = Request("GET", "/v1/x")


def post(*body: bytes | memoryview) -> Request:
    return Request("POST", "/v1/x", list(body))


def test_requests_share_a_connection(server, transport):
    for body in (b"one", b"two"):
        assert transport.send(post(body)).body == b"{}"

    assert [(number, body) for number, _, body in server.requests] == [(0, b"one"), (0, b"two")]


def test_the_head_says_what_is_sent_and_wanted(server, transport):
    transport.send(post(b"{}"))
    transport.send(GET)

    lines = server.requests[0][1].decode().split("\r\n")
    assert lines[0] == "POST /v1/x HTTP/1.1"
    assert set(lines[1:-2]) == {
        f"host: {server.url.removeprefix('http://')}",
        f"user-agent: telegrad/{telegrad.__version__}",
        "x-key: k",
        "accept: application/json",
        "accept-encoding: identity",
        "content-type: application/json",
        "content-length: 2",
    }
    assert b"content-" not in server.requests[1][1]


def test_an_address_may_have_a_prefix(server, kind):
    transport = kind(server.url + "/deep/er", timeout_seconds=5, headers=None)
    transport.send(GET)
    transport.close()

    assert server.requests[0][1].startswith(b"GET /deep/er/v1/x HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "parts",
    [
        [bytes([b]) for b in OK],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"1;x=y\r\n}\r\n0\r\ntrailer: t\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
        [b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + OK],
    ],
    ids=["byte by byte", "in chunks", "after a 100", "after a 103"],
)
def test_an_answer_is_whole_however_it_comes(server, transport, parts):
    server.script = always(*parts)

    for _ in range(2):
        answered = transport.send(GET)
        assert (answered.status, answered.body) == (200, b"{}")
        assert "link" not in answered.headers
    assert [number for number, _, _ in server.requests] == [0, 0]


def test_an_answer_without_a_length_ends_with_the_connection(server, transport):
    server.script = always(b"HTTP/1.1 200 OK\r\n\r\n", b"ab", b"cd", stay=False)

    assert transport.send(GET).body == b"abcd"
    assert transport.send(GET).body == b"abcd"
    assert [number for number, _, _ in server.requests] == [0, 1]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "compressed by gzip"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "another protocol"),
    ],
    ids=["compressed", "upgraded"],
)
def test_an_answer_in_a_way_that_nobody_asked_for_is_an_error(server, transport, head, reason):
    server.script = always(head)

    with pytest.raises(TransportError, match=reason):
        transport.send(GET)


@pytest.mark.parametrize("status", [b"204 No Content", b"200 OK\r\ncontent-length: 0"])
def test_an_answer_may_have_no_body(server, transport, status):
    server.script = always(b"HTTP/1.1 " + status + b"\r\n\r\n")

    assert transport.send(GET).body == b""
    assert transport.send(GET).body == b""
    assert [number for number, _, _ in server.requests] == [0, 0]


def test_a_connection_that_is_to_close_is_not_used_again(server, transport):
    server.script = always(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

    transport.send(GET)
    transport.send(GET)

    assert [number for number, _, _ in server.requests] == [0, 1]


def test_a_stale_connection_is_noticed_and_the_request_is_done_once(server, transport):
    server.script = always(OK, stay=False)
    transport.send(post(b"one"))
    something_came(transport)  # the end of the connection

    assert transport.send(post(b"two")).body == b"{}"
    assert [(number, body) for number, _, body in server.requests] == [(0, b"one"), (1, b"two")]


@pytest.mark.parametrize("together", [True, False])
def test_a_connection_over_which_something_came_unasked_is_not_used_again(server, transport, together):
    unasked = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 3\r\n\r\nbye"
    server.script = always(OK + unasked if together else OK)
    assert transport.send(GET).status == 200
    if not together:
        server.connections[0].sendall(unasked)
        something_came(transport)
    server.script = always(OK)

    assert transport.send(GET).status == 200
    assert [number for number, _, _ in server.requests] == [0, 1]


def test_a_connection_that_was_idle_for_long_is_not_used_again(server, transport, monkeypatch):
    transport.send(GET)
    monkeypatch.setattr(_defaults, "KEEP_ALIVE_SECONDS", 0.0)

    transport.send(GET)

    assert [number for number, _, _ in server.requests] == [0, 1]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"HTTP/1.1 200 OK\r\ncontent-"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"],
    ],
    ids=["at once", "in the head", "in the body", "in a chunk"],
)
def test_a_server_that_hangs_up_is_an_error(server, transport, parts):
    server.script = always(*parts, stay=False)

    with pytest.raises(TransportError, match="hung up"):
        transport.send(GET)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"HTTP/1.1 20\r\n\r\n"])
def test_an_answer_that_is_no_http_is_an_error(server, transport, garbage):
    server.script = always(garbage, stay=False)

    with pytest.raises(TransportError, match="failed"):
        transport.send(GET)


def test_a_server_that_says_nothing_is_waited_for_so_long(server, kind):
    release = threading.Event()
    server.script = lambda connection, number: release.wait(20) and False
    transport = kind(server.url, timeout_seconds=0.1, headers=None)

    with pytest.raises(TransportTimeoutError):
        transport.send(GET)
    release.set()
    transport.close()


def test_a_server_that_is_not_there_was_sent_nothing(kind):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    transport = kind(f"http://127.0.0.1:{port}", timeout_seconds=5, headers=None)

    with pytest.raises(NotSent) as caught:
        transport.send(GET)
    assert "telegrad serve" in str(caught.value.error)
    transport.close()


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 40, 4096])
def test_arrays_are_received_in_place_wherever_the_pieces_end(server, transport, cut):
    arrays = {"a": np.arange(1000.0), "b": np.zeros(0), "c": np.array([True, False]), "d": np.array(3 + 4j)}
    body = b"".join(safetensors.pack(arrays, {"x": 1}))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.safetensors\r\ncontent-length: %d\r\n\r\n" % len(body)
    server.script = always(head + body[:cut], *[body[i : i + cut * 100] for i in range(cut, len(body), cut * 100)])

    answered = transport.send(GET)

    assert answered.message == {"x": 1}
    for name, array in arrays.items():
        np.testing.assert_array_equal(answered.arrays[name], array)
        assert answered.arrays[name].dtype == array.dtype
    assert transport.send(GET).status == 200


@pytest.mark.parametrize("change", [b"\xff" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00[]"])
def test_arrays_that_are_none_are_an_error(server, transport, change):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.safetensors\r\ncontent-length: %d\r\n\r\n" % len(change)
    server.script = always(head + change)

    with pytest.raises(TransportError, match="safetensors"):
        transport.send(GET)


def test_a_large_body_arrives_as_it_was(server, transport):
    array = np.random.default_rng(0).normal(size=400_000)

    transport.send(post(b"head", codec.array_bytes(array), b"tail"))

    assert server.requests[0][2] == b"head" + array.tobytes() + b"tail"


def test_a_refusal_is_heard_though_the_body_was_not_taken(server, transport, kind):
    refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(refusal)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(2**20):
            pass
        connection.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    early = kind(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=5, headers=None)
    answered = early.send(post(memoryview(bytes(2**24))))
    early.close()
    thread.join(20)
    listener.close()

    assert (answered.status, answered.body) == (413, b"no")


def test_a_long_error_is_read_as_far_as_it_is_wanted(server, transport, monkeypatch):
    monkeypatch.setattr(_defaults, "MAX_ERROR_BYTES", 1000)
    length = 5_000_000
    server.script = always(b"HTTP/1.1 500 x\r\ncontent-length: %d\r\n\r\n" % length + b"x" * 20_000, stay=False)

    answered = transport.send(GET)

    assert answered.status == 500
    assert 1000 < len(answered.body) <= 20_000


@pytest.mark.parametrize(
    ("url", "headers", "direct"),
    [
        ("http://127.0.0.1:8000", {}, True),
        ("http://[::1]:8000/prefix", {"authorization": "Bearer x"}, True),
        ("https://example.org", {}, False),
        ("http://user:word@example.org", {}, False),
        ("http://bücher.example", {}, False),
        ("http://example.org:port", {}, False),
        ("http://example.org?x=1", {}, False),
        ("http://example.org", {"accept-encoding": "zstd"}, False),
        ("http://example.org", {"x": "a\r\nb: c"}, False),
        ("http://example.org", {"x y": "z"}, False),
    ],
)
def test_plain_addresses_are_spoken_to_directly(url, headers, direct, monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", dict)
    made = open_transport(url, timeout_seconds=5, headers=headers, transport=None)
    made.close()

    assert type(made) is (DirectTransport if direct else HttpTransport)
    awaited = open_async_transport(url, timeout_seconds=5, headers=headers, transport=None)
    assert type(awaited) is (AsyncDirectTransport if direct else AsyncHttpTransport)
    assert _direct.serves(url, headers) is direct


def test_a_proxy_is_for_httpx2_but_not_for_addresses_that_it_leaves_out(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost")

    assert not _direct.serves("http://example.org", {})
    assert _direct.serves("http://localhost:8000", {})


def test_a_transport_that_was_given_is_used():
    made = open_transport("http://127.0.0.1:8000", timeout_seconds=5, headers=None, transport=Wire())

    assert type(made) is HttpTransport


def test_without_httptools_httpx2_does_it(monkeypatch):
    monkeypatch.delattr(telegrad, "_direct")
    monkeypatch.setitem(sys.modules, "telegrad._direct", None)
    made = open_transport("http://127.0.0.1:8000", timeout_seconds=5, headers=None, transport=None)
    made.close()

    assert type(made) is HttpTransport


def test_a_task_that_is_cancelled_leaves_no_connection_behind(server):
    came, release = threading.Event(), threading.Event()

    def wait(_connection: socket.socket, _number: int) -> bool:
        came.set()
        return release.wait(20) and False

    server.script = wait
    transport = AsyncDirectTransport(server.url, timeout_seconds=20, headers=None)

    async def main() -> None:
        sending = asyncio.ensure_future(transport.send(GET))
        assert await asyncio.to_thread(came.wait, 20)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(main())
    release.set()
    assert not transport._line._idle


def test_an_async_session_speaks_over_its_own_sockets():
    large = np.arange(3e5)

    async def main(url: str) -> None:
        async with telegrad.connect_async(url) as session:
            assert type(session._transport) is AsyncDirectTransport
            x: Any = telegrad.tensor(large, requires_grad=True)
            await asyncio.gather(*[(x * i).sum().item() for i in range(3)])
            (x * x).sum().backward()
            gradient = await x.grad
            assert np.array_equal(await gradient.numpy(), 2 * large)

    asyncio.run(main(server_url()))
