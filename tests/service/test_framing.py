"""Heads, over plain sockets: what is offered beside a request, what nobody should answer to, and how a connection ends."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator

import httpx2
import pytest

from telegrad_service.api import negotiation
from telegrad_service.api.framing import fault_of
from telegrad_service.api.gathering import LINGER_SECONDS
from tests.places import server_url
from tests.service.test_server import Server, problem_in

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
HIDDEN = b"GET /v1/ops/add HTTP/1.1\r\n" + HOST + b"\r\n"
"""A request in a body, which must not be taken for one."""


LAST = b"GET /v1/ops/neg HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


def answers_to(url: str, *pieces: bytes) -> bytes:
    """All that comes for these pieces, each sent when the one before has been looked at.

    A last request ends the connection, so that nobody has to guess how long an answer may take; its own is left out.
    """
    host, port = url.removeprefix("http://").split(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):  # one that the server has ended before
            for piece in (*pieces, LAST):
                connection.sendall(piece)
                time.sleep(0.05)
        while piece := connection.recv(65536):
            found += piece
    before, mark, last = found.rpartition(b"HTTP/1.1 ")
    return before if mark and b'"name":"neg"' in last else found


def statuses(found: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 ([0-9]{3}) ", found)]


@pytest.fixture
def at(server_at: str) -> Iterator[str]:
    with httpx2.Client(base_url=server_at) as client:
        address = client.post("/v1/sessions").headers["location"]
        yield address
        client.delete(address)


@pytest.fixture
def server_at() -> str:
    return server_url()


def framed(body: bytes, framing: str) -> tuple[bytes, bytes]:
    """The header for a body, and the body as it is then sent."""
    if framing == "length":
        return b"Content-Length: %d\r\n" % len(body), body
    return b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.2, h2c"])
@pytest.mark.parametrize("pieces", ["at once", "head first", "byte by byte"])
def test_a_request_that_offers_an_upgrade_is_done_as_it_is(server_at, at, upgrade, framing, pieces):
    header, body = framed(b'{"id": "x", "data": 1.5}', framing)
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + upgrade + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    head = f"POST {at}/tensors HTTP/1.1\r\n".encode() + HOST + offer + JSON + header + b"\r\n"
    sent = {"at once": [head + body + HIDDEN], "head first": [head, body, HIDDEN]}.get(pieces)
    if sent is None:
        sent = [head, *[body[i : i + 1] for i in range(len(body))], HIDDEN]

    found = answers_to(server_at, *sent)

    assert statuses(found) == [201, 200]  # and the connection goes on
    assert httpx2.get(f"{server_at}{at}/tensors/x").json()["data"] == 1.5


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_body_of_an_offer_to_upgrade_is_never_taken_for_a_request(server_at, method, framing):
    header, body = framed(HIDDEN, framing)
    head = (
        f"{method} /v1/sessions HTTP/1.1\r\n".encode() + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + JSON + header + b"\r\n"
    )

    assert statuses(answers_to(server_at, head, body)) == [400 if method == "POST" else 405]
    assert statuses(answers_to(server_at, head + body)) == [400 if method == "POST" else 405]


def test_what_comes_behind_an_offer_without_a_body_is_the_next_request(server_at):
    offer = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    assert statuses(answers_to(server_at, offer * 3 + HIDDEN)) == [200] * 4


def test_a_large_array_may_come_behind_an_offer(server_at, at):
    body = bytes(4_000_000)
    head = f"POST {at}/tensors?id=z&dtype=uint8&shape=4000000 HTTP/1.1\r\n".encode() + HOST
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Type: application/octet-stream\r\nContent-Length: 4000000\r\n\r\n"

    assert statuses(answers_to(server_at, head + offer, body, HIDDEN)) == [201, 200]


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity, chunked", b"gzip\r\nTransfer-Encoding: chunked"])
def test_transfer_codings_that_are_not_undone_are_refused(server_at, coding):
    head = b"POST /v1/sessions HTTP/1.1\r\n" + HOST + JSON + b"Transfer-Encoding: " + coding + b"\r\n\r\n"

    found = answers_to(server_at, head + b"2\r\n{}\r\n0\r\n\r\n")

    assert statuses(found) == [400]
    assert "chunked" in problem_in(found)["detail"]


@pytest.mark.parametrize("line", [b"get /healthz HTTP/1.1\r\n", b"FETCH /healthz HTTP/1.1\r\n", b"GET healthz HTTP/1.1\r\n"])
def test_what_is_no_request_is_told_what_one_is(server_at, line):
    found = answers_to(server_at, line + HOST + b"\r\n")

    assert statuses(found) == [400]
    assert "a method in capitals" in problem_in(found)["detail"]


@pytest.mark.parametrize(
    ("host", "is_guarded", "is_right"),
    [
        *[(host, True, True) for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "telegrad", "a.localhost", "app.test.", "")],
        *[
            (host, True, False)
            for host in ("evil.example.net.attacker.io", "rebind.it:8000", "127.0.0.1.nip.io", "localhost.evil.org")
        ],
        *[(host, False, True) for host in ("telegrad.company.com", "10.0.0.7:80", "a.b.c:1")],
        *[(host, False, False) for host in ("a b", "a/b", "a:b", "user@host", "[::1", "h\u00f6st")],
    ],
)
def test_a_server_without_keys_answers_to_no_name_that_a_stranger_can_have_made(host, is_guarded, is_right):
    fault = fault_of([(b"accept", b"*/*"), (b"host", host.encode())], "1.1", is_guarded=is_guarded)

    assert (fault == "") == is_right


def test_a_page_that_gave_our_address_a_name_of_its_own_gets_nothing(server_at):
    found = answers_to(server_at, b"GET /v1/sessions HTTP/1.1\r\nHost: rebound.attacker.com:8000\r\n\r\n")

    assert statuses(found) == [400]
    assert "localhost" in problem_in(found)["detail"]
    assert b"attacker" not in found


def test_who_asks_for_keys_or_allows_every_name_answers_to_every_name():
    server = Server("--durability", "none", "--insecure-bind")
    try:
        assert statuses(answers_to(server.url, b"GET /healthz HTTP/1.1\r\nHost: telegrad.company.com\r\n\r\n")) == [200]
    finally:
        server.stop()


def test_an_answer_before_the_end_of_a_body_arrives_although_the_connection_ends(server_at):
    head = b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: 1000000\r\n\r\n"
    host, port = server_at.removeprefix("http://").split(":")
    begun = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        for _ in range(20):  # the answer is on its way, and the connection is over for the server
            connection.sendall(b"x" * 1000)
            time.sleep(0.01)
        found = b""
        while piece := connection.recv(65536):
            found += piece

    assert statuses(found) == [404]
    assert problem_in(found)["type"] == "urn:telegrad:problem:not-found"
    assert time.monotonic() - begun < LINGER_SECONDS


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_without_a_length_ends_as_its_version_of_http_has_it(server_at, at, version):
    httpx2.post(f"{server_at}{at}/tensors", json={"id": "n", "data": 0})
    add = {"inputs": ["n"], "commands": [{"command": "apply", "op": "add_", "inputs": ["n", 1]}]}
    program = httpx2.post(f"{server_at}{at}/programs", json=add).json()["id"]
    body = b'{"inputs": {"n": "n"}, "times": 3}'
    head = f"POST {at}/programs/{program}/run HTTP/".encode() + version + b"\r\n" + HOST + JSON
    request = head + b"Accept: text/event-stream\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    found = answers_to(server_at, request)

    events = found.partition(b"\r\n\r\n")[2]
    assert statuses(found) == [200]
    if version == b"1.0":
        assert b"transfer-encoding" not in found
        assert events.startswith(b"event: started\n")
        assert events.endswith(b"}\n\n")
    else:
        assert b"transfer-encoding: chunked" in found
        assert events.endswith(b"\r\n0\r\n\r\n")
    assert b'"runs":3' in events


def test_options_of_the_server_as_a_whole_tell_all_methods(server_at):
    found = answers_to(server_at, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN)

    assert statuses(found) == [204, 200]
    assert b"allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST" in found


OFFERS = ("application/json", "application/octet-stream")


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", OFFERS[0]),  # HttpURLConnection of Java
        ("application/json;q=.1, application/octet-stream;q=.2", OFFERS[1]),
        ("application/json;q=none, */*;q=0.1", OFFERS[0]),  # what cannot be read is as if it were not there
        (", ,", OFFERS[0]),
        ("application/json;q=0, */*", OFFERS[1]),
    ],
)
def test_preferences_are_read_as_clients_write_them(accept, best):
    assert negotiation.accept([(b"accept", accept.encode())], OFFERS) == best
