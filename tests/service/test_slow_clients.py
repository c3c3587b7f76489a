"""Clients that send or take slowly, over plain sockets: each loses its connection in time, and others notice nothing."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests.places import server_url
from tests.service.test_server import Server, problem_in
from tests.waiting import wait_until

HEAD_SECONDS, KEEP_ALIVE_SECONDS, STALL_SECONDS = 0.6, 1.5, 1.0
STALL_BYTES_PER_SECOND = 1000
PATIENCE_SECONDS = 15.0
"""A busy machine may be slow; every default of the server is longer."""
SLOW_HEAD = b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 100


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    opened = Server(
        *("--head-seconds", str(HEAD_SECONDS), "--keep-alive-seconds", str(KEEP_ALIVE_SECONDS)),
        *("--stall-seconds", str(STALL_SECONDS), "--stall-bytes-per-second", str(STALL_BYTES_PER_SECOND), "--durability", "none"),
    )
    yield opened
    opened.stop()


def client_of(server: Server) -> httpx2.Client:
    """One that keeps no connection: the server closes idle ones soon, perhaps in the moment in which the next request is sent."""
    return httpx2.Client(base_url=server.url, timeout=30, limits=httpx2.Limits(max_keepalive_connections=0))


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.settimeout(PATIENCE_SECONDS)
    opened.connect((host, int(port)))
    return opened


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with connected(server.url) as opened:
        yield opened


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the server hangs up; fails where it does not within ``PATIENCE_SECONDS``."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def is_cut_off(connection: socket.socket, pieces: bytes) -> bool:
    """Send a byte every tenth of a second; whether the server answers or hangs up before it has all of them, 5 seconds or more."""
    assert len(pieces) >= 50
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for byte in pieces:
            connection.sendall(bytes([byte]))
            if select.select([connection], [], [], 0.1)[0]:
                return True
        return False
    return True


def answer_when_cut_off(server: Server, begin: Callable[[socket.socket], None], pieces: bytes) -> bytes:
    """What the server answers to who begins so, and then sends a byte every tenth of a second, also when the answer is there."""
    with connected(server.url) as connection:
        begin(connection)
        assert is_cut_off(connection, pieces)
        for byte in pieces[:5]:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
        return rest_of(connection)


def test_a_connection_that_says_nothing_is_closed(server):
    begun = time.monotonic()
    with connected(server.url) as connection:
        assert rest_of(connection) == b""

    assert time.monotonic() - begun > HEAD_SECONDS / 2


@pytest.mark.parametrize("first", [b"", b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["new", "a blank line", "later"])
def test_a_head_that_drips_is_refused_with_408(server, first):
    def begin(connection: socket.socket) -> None:
        connection.sendall(first)
        if first.startswith(b"GET"):
            while b'"ok"' not in connection.recv(65536):
                pass

    found = answer_when_cut_off(server, begin, SLOW_HEAD)

    assert found.startswith(b"HTTP/1.1 408 ")
    assert problem_in(found)["type"] == "urn:telegrad:problem:request-timeout"
    assert b"x-content-type-options: nosniff" in found


def test_blank_lines_keep_no_connection(connection):
    assert is_cut_off(connection, b"\r\n" * 50)


def test_an_idle_connection_is_closed_and_a_used_one_is_not(server, connection):
    for _ in range(3):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        while b'"ok"' not in connection.recv(65536):
            pass
        time.sleep(KEEP_ALIVE_SECONDS / 2.5)

    assert rest_of(connection) == b""


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_drips_is_refused_with_408_and_changes_nothing(server, framing):
    with client_of(server) as client:
        at = client.post("/v1/sessions").headers["location"]
        head = f"POST {at}/tensors HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        begin = head + "3e8\r\n" * ("chunked" in framing)

        found = answer_when_cut_off(server, lambda c: c.sendall(begin.encode()), b'{"id": "a", "data": [' + b"1," * 100)

        assert found.startswith(b"HTTP/1.1 408 ")
        assert problem_in(found)["type"] == "urn:telegrad:problem:request-timeout"
        assert client.get(at).json()["tensors"] == 0
        counted = client.get("/metrics").text
        assert 'method="POST",route="/v1/sessions/{session}/tensors",status="408"' in counted
        assert 'status="499"' not in counted


def test_heads_that_are_late_or_no_http_are_counted(server, connection):
    before = counted(server, "400"), counted(server, "408")
    assert is_cut_off(connection, SLOW_HEAD)
    with connected(server.url) as another:
        another.sendall(b"no http at all\r\n\r\n")
        rest_of(another)

    assert (counted(server, "400"), counted(server, "408")) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("behind", [b"no http at all\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 300 + b"\r\n"])
def test_what_comes_behind_a_request_is_never_taken_for_its_answer(behind):
    with connected(server_url()) as connection:  # whose deadlines are long: it hangs up before any of them
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + behind)
        found = rest_of(connection)

    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_who_goes_on_sending_after_the_answer_is_cut_off(server, connection, framing):
    connection.sendall(f"POST /nowhere HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
    piece = b"100000\r\n" + b"x" * 2**20 + b"\r\n" if "chunked" in framing else b"x" * 2**20
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 2**32:
            connection.sendall(piece)
            sent += 2**20

    assert sent < 2**29  # what a body may have, and what is under way


def counted(server: Server, status: str) -> float:
    """Requests that became none, and were answered so."""
    name = f'telegrad_requests_total{{method="other",route="none",status="{status}"}} '
    lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_a_body_that_comes_steadily_may_take_long(server, connection):
    with client_of(server) as client:
        at = client.post("/v1/sessions").headers["location"]
        body = b'{"id": "a", "data": 1' + b" " * 40_000 + b"}"
        head = f"POST {at}/tensors HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode())

        for start in range(0, len(body), 2000):
            connection.sendall(body[start : start + 2000])
            time.sleep(0.1)  # 2 s in all: twice as long as a stall may last

        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_an_answer_that_nobody_takes_is_dropped(isolation):
    server = Server("--stall-seconds", str(STALL_SECONDS), "--isolation", isolation, "--durability", "none")
    try:
        with client_of(server) as client:
            at = client.post("/v1/sessions").headers["location"]
            command = {"op": "zeros", "parameters": {"size": [30_000_000]}, "outputs": ["z"]}
            assert client.post(f"{at}/ops", json=command).status_code == 200
            with connected(server.url) as connection:
                request = f"GET {at}/tensors/z HTTP/1.1\r\nHost: a\r\nAccept: application/octet-stream\r\n\r\n"
                connection.sendall(request.encode())
                wait_until(lambda: any("an answer was cut" in line for line in server.lines))
                found = rest_of(connection)

            assert 0 < len(found) < 30_000_000
            assert client.get(f"{at}/tensors/z?data=false").status_code == 200
    finally:
        server.stop()


def test_an_answer_that_is_taken_slowly_but_steadily_comes_whole(server, connection):
    with client_of(server) as client:
        at = client.post("/v1/sessions").headers["location"]
        client.post(f"{at}/ops", json={"op": "ones", "parameters": {"size": [1_000_000]}, "outputs": ["z"]})
        connection.sendall(f"GET {at}/tensors/z HTTP/1.1\r\nHost: a\r\nAccept: application/octet-stream\r\n\r\n".encode())

        found = b""
        while len(found) < 4_000_000:
            piece = connection.recv(2**16)
            assert piece, f"cut after {len(found):,} bytes"
            found += piece
            time.sleep(0.01)

    assert found.endswith(b"\x00\x00\x80\x3f")
