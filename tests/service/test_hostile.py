"""A server that keys guard, and a table of bad inputs over everything that it takes: framing, JSON, binary forms, tensors, ops,
autograd, programs, keys and retries. Each is refused with its status and type and changes nothing, a neighbour goes on as if
nothing were, and in the end the server's memory is what it was.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from telegrad_service.access.keys import KeyStore
from tests.service.test_bad_input import ROWS as REQUESTS
from tests.service.test_bad_input import SETUP
from tests.service.test_errors import assert_problem
from tests.service.test_server import Server

JSON = "application/json"
PROGRAM = [
    {"command": "apply", "op": "mul", "inputs": ["a", "b"], "outputs": ["c"]},
    {"command": "apply", "op": "sum", "inputs": ["c"], "outputs": ["d"]},
]
KEEP_ALIVE_SECONDS = 2
FLAT_BYTES = 48 * 2**20
"""What the processes of the server together may have grown by when the whole table has been gone through once more."""


class Case(NamedTuple):
    """One bad request: its name, method, path under the session, headers, body, and what is answered."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    code: str


CASES: list[Case] = [
    Case(
        row.name,
        row.method,
        f"{row.path}?{row.query}" if row.query else row.path,
        {"content-type": row.media_type} if row.method in ("POST", "PATCH") else {},
        row.body,
        row.status,
        row.code,
    )
    for row in REQUESTS
    if len(row.body) < 2**20
]


def case(name: str, path: str, body: Any, status: int, code: str, *, method: str = "POST", **headers: str) -> None:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    content = b"" if body is None else json.dumps(body).encode()
    CASES.append(Case(name, method, path, {"content-type": JSON, **named} if content else named, content, status, code))


# Programs
RUN = "programs/{program}/run"
for body, status, code, name in [
    ({}, 422, "argument-value", "no inputs"),
    ({"inputs": {"a": "x"}}, 422, "argument-value", "a hole without a tensor"),
    ({"inputs": {"a": "x", "b": "pair", "z": "x"}}, 422, "argument-value", "a hole that it does not have"),
    ({"inputs": {"a": "x", "b": "x"}, "each": {"a": "x"}}, 422, "argument-value", "a hole twice"),
    ({"inputs": {"a": "x", "b": "nobody"}}, 404, "not-found", "an unknown tensor"),
    ({"inputs": {"a": "x", "b": "pair"}}, 422, "shape", "shapes that do not broadcast"),
    ({"inputs": ["x", "x"]}, 422, "argument-type", "a list of inputs"),
    ({"inputs": {"a": 1, "b": "x"}}, 422, "argument-type", "a number for a tensor"),
    ({"inputs": {"a": "x", "b": "x"}, "times": 0}, 422, "argument-value", "no times"),
    ({"inputs": {"a": "x", "b": "x"}, "times": -1}, 422, "argument-value", "fewer than no times"),
    ({"inputs": {"a": "x", "b": "x"}, "times": 1.5}, 422, "argument-type", "one time and a half"),
    ({"inputs": {"a": "x", "b": "x"}, "times": 10**9}, 422, "limit", "a thousand million times"),
    ({"inputs": {"a": "x", "b": "x"}, "seconds": -1}, 422, "argument-value", "less than no time"),
    ({"inputs": {"a": "x", "b": "x"}, "outputs": {"nothing": "n"}}, 422, "argument-value", "an output that it does not have"),
    ({"inputs": {"a": "x", "b": "x"}, "outputs": {"d": "x"}}, 409, "conflict", "an output under a name that is taken"),
    ({"inputs": {"a": "x", "b": "x"}, "outputs": {"c": "n", "d": "n"}}, 409, "conflict", "two outputs under one name"),
    ({"inputs": {"a": "x", "b": "x"}, "outputs": {"d": "a b"}}, 422, "argument-value", "an output under no name"),
    ({"inputs": {"a": "x"}, "each": {"b": "free"}}, 422, "shape", "rows of a number"),
    ({"inputs": {}, "each": {"a": "x", "b": "pair"}}, 422, "shape", "rows that do not agree"),
    ({"inputs": {"a": "x"}, "each": {"b": "x"}, "times": 2}, 422, "argument-value", "times that do not agree with the rows"),
    ({"inputs": {"a": "x", "b": "x"}, "program": "p"}, 422, "argument-type", "another program"),
    ({"inputs": {"a": "x", "b": "x"}, "collect": {"c": "w"}, "times": 900_000_00}, 422, "limit", "more than it may collect"),
    ([], 422, "argument-type", "a list for a body"),
]:
    case(f"run: {name}", RUN, body, status, code)
for body, status, code, name in [
    ({}, 422, "argument-type", "no commands"),
    ({"commands": "x"}, 422, "argument-type", "text for commands"),
    ({"commands": [], "inputs": "x"}, 422, "argument-type", "text for inputs"),
    ({"commands": [], "inputs": ["a", "a"]}, 422, "argument-value", "an input twice"),
    ({"commands": [], "inputs": ["a b"]}, 422, "argument-value", "an input that is no name"),
    ({"commands": [{"command": "run", "program": "sha256:" + "0" * 64}]}, 422, "argument-value", "a run of a program"),
    ({"commands": [{"command": "create", "id": "n", "buffer": "b"}]}, 422, "argument-value", "an array from a body"),
    ({"commands": [{"command": "fly"}]}, 422, "argument-value", "an unknown command"),
    ({"commands": [], "loop": True}, 422, "argument-type", "a member that is none"),
]:
    case(f"program: {name}", "programs", body, status, code)
for path in ("programs/none", "programs/sha256:0", "programs/" + "x" * 2000, "programs/%00"):
    case(f"program: no such one, {path[:24]}", path, None, 404, "not-found", method="GET")
    case(f"program: no such one deleted, {path[:24]}", path, None, 404, "not-found", method="DELETE")
case("run: no such program", "programs/sha256:0/run", {}, 404, "not-found")
case("run: an id that is none", f"{RUN}?run_id=%20", {"inputs": {"a": "x", "b": "x"}}, 422, "argument-value")
case("runs: none of that name", "runs/none", None, 404, "not-found", method="DELETE")

# Keys
for value, status, code, name in [
    ("", 401, "unauthenticated", "nothing"),
    ("Bearer", 401, "unauthenticated", "no key"),
    ("Basic dXNlcjpwYXNz", 401, "unauthenticated", "another scheme"),
    ("bearer tg_000000000000_" + "A" * 43, 401, "unauthenticated", "a key of nobody"),
    ("Bearer {key}x", 401, "unauthenticated", "a key that is one character longer"),
    ("Bearer {id}", 401, "unauthenticated", "the id alone"),
    ("Bearer " + "k" * 9000, 401, "unauthenticated", "a key of 9,000 characters"),
    ("Bearer {key} {key}", 401, "unauthenticated", "two keys in one"),
    ("Bearer {revoked}", 401, "unauthenticated", "a key that was revoked"),
    ("Bearer {expired}", 401, "unauthenticated", "a key that has expired"),
    ("Bearer {reader}", 403, "forbidden", "a key that may only read"),
    ("Bearer {other}", 404, "not-found", "a key of another tenant"),
    ("Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0.", 401, "unauthenticated", "a token of no algorithm"),
    ("Bearer \xff\xfe", 401, "unauthenticated", "bytes that are no text"),
]:
    case(f"key: {name}", "tensors", {"id": "n", "data": 1}, status, code, authorization=value)

# Retries
BATCH: dict[str, Any] = {"commands": []}
CLIENT = "c" * 16
for headers, status, code, name in [
    ({"idempotency_key": '""'}, 400, "request", "an empty key"),
    ({"idempotency_key": "k" * 256}, 400, "request", "a key of 256 characters"),
    ({"idempotency_key": '"\xe4"'}, 400, "request", "a key that is not ASCII"),
    ({"idempotency_key": '"k"', "telegrad_client": CLIENT, "telegrad_batch": "1"}, 400, "request", "a key and a number"),
    ({"telegrad_client": CLIENT}, 400, "request", "a client without a number"),
    ({"telegrad_batch": "1"}, 400, "request", "a number without a client"),
    ({"telegrad_client": "short", "telegrad_batch": "1"}, 400, "request", "a client that can be guessed"),
    ({"telegrad_client": CLIENT, "telegrad_batch": "0"}, 400, "request", "number 0"),
    ({"telegrad_client": CLIENT, "telegrad_batch": "-1"}, 400, "request", "number -1"),
    ({"telegrad_client": CLIENT, "telegrad_batch": "1.0"}, 400, "request", "number 1.0"),
    ({"telegrad_client": CLIENT, "telegrad_batch": "9" * 40}, 400, "request", "a number of 40 digits"),
    ({"telegrad_client": CLIENT, "telegrad_batch": "\u00b2".encode().decode("latin-1")}, 400, "request", "a digit of another kind"),
    ({"idempotency_key": '"used"'}, 422, "idempotency-key-reused", "a key of another request"),
    ({"telegrad_client": "d" * 16, "telegrad_batch": "1"}, 409, "sequence", "a number of another request"),
    ({"telegrad_client": "d" * 16, "telegrad_batch": "7"}, 409, "sequence", "a number that is not next"),
]:
    case(f"retry: {name}", "batch", BATCH, status, code, **headers)

# What HTTP itself says
for headers, status, code, name in [
    ({"content_type": "text/plain"}, 415, "unsupported-media-type", "text"),
    ({"content_type": "application/json; charset=utf-16"}, 415, "unsupported-media-type", "JSON in UTF-16"),
    ({"content_type": "application/x-pickle"}, 415, "unsupported-media-type", "a pickle"),
    ({"content_type": "multipart/form-data; boundary=x"}, 415, "unsupported-media-type", "a form"),
    ({"content_encoding": "gzip"}, 415, "unsupported-media-type", "gzip"),
    ({"content_encoding": "zstd"}, 400, "request", "zstd that is none"),
    ({"content_encoding": "zstd, zstd"}, 415, "unsupported-media-type", "zstd twice"),
    ({"accept": "text/html"}, 406, "not-acceptable", "an answer in HTML"),
    ({"accept": "application/json;q=0"}, 406, "not-acceptable", "no JSON"),
]:
    case(f"HTTP: {name}", "batch", BATCH, status, code, **headers)
for method, path, status, code, name in [
    ("PUT", "batch", 405, "method-not-allowed", "a method that it does not have"),
    ("BREW", "batch", 400, "request", "a method that nobody has"),
    ("TRACE", "batch", 405, "method-not-allowed", "TRACE"),
    ("GET", "nowhere", 404, "not-found", "no such page"),
    ("GET", "tensors/", 404, "not-found", "a slash too many"),
    ("GET", "tensors%2Fx", 404, "not-found", "a slash that is hidden from a gateway"),
    ("POST", "%2e%2e%2fbatch", 404, "not-found", "a way up that is hidden"),
    ("GET", "../../../etc/passwd", 404, "not-found", "a way up"),
    ("GET", "tensors?limit=1&limit=2", 400, "request", "a parameter twice"),
    ("GET", "tensors?limit", 400, "request", "a parameter without a value"),
    ("GET", "tensors?limit=%ff", 400, "request", "a parameter that is no text"),
    ("GET", "tensors?" + "&".join(f"p{i}=1" for i in range(100)), 400, "request", "a hundred parameters"),
    ("GET", "tensors?nothing=1", 422, "argument-type", "a parameter that is none"),
]:
    CASES.append(Case(f"HTTP: {name}", method, path, {}, b"", status, code))

HEAD = "POST {at}/tensors HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
FRAMES: list[tuple[str, str | bytes]] = [
    # name, bytes on the connection: {at} and {key} are filled in
    ("no request", "hello\r\n\r\n"),
    ("a method alone", "GET\r\n\r\n"),
    ("HTTP 9.9", "GET / HTTP/9.9\r\n\r\n"),
    ("HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("zeros", b"\0" * 4096),
    ("no host", "GET /healthz HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("a blank in the path", "GET /v1/ sessions HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bytes in the path", b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a blank before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    ("a header without a colon", "GET / HTTP/1.1\r\nHost\r\n\r\n"),
    ("a header that goes on in the next line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    ("a null character in a header", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    ("a line that ends in a return alone", "GET / HTTP/1.1\rHost: a\r\r"),
    ("a negative length", HEAD + "Content-Length: -1\r\n\r\n"),
    ("a length with a sign", HEAD + "Content-Length: +2\r\n\r\n{{}}"),
    ("a length in hexadecimal", HEAD + "Content-Length: 0x2\r\n\r\n{{}}"),
    ("a length beyond all bounds", HEAD + "Content-Length: 99999999999999999999999\r\n\r\n"),
    ("two lengths", HEAD + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}"),
    ("a length and chunks", HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks and a length", HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("a coding that nobody knows", HEAD + "Transfer-Encoding: pigeon\r\n\r\n"),
    ("chunks that are not last", HEAD + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("a chunk size that is none", HEAD + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("a chunk size beyond all bounds", HEAD + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n"),
    ("a negative chunk size", HEAD + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{{}}\r\n0\r\n\r\n"),
    ("a chunk that is longer than it says", HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}{{}}\r\n0\r\n\r\n"),
    ("a head without end", HEAD + "X: " + "a" * 200_000),
    ("ten thousand headers", HEAD + "X: 1\r\n" * 10_000 + "\r\n"),
    ("a body that stops", HEAD + 'Content-Length: 1000\r\n\r\n{{"id": "n"'),
    ("chunks that stop", HEAD + 'Transfer-Encoding: chunked\r\n\r\n5\r\n{{"id"\r\n'),
    ("a request behind another's length", HEAD + "Content-Length: 2\r\n\r\n{{}}GARBAGE\r\n\r\n"),
    ("a declared body over the limit", HEAD + "Content-Length: 999999999999\r\n\r\n"),
]


class Place:
    """The server, a session of one tenant that must not change, and a neighbour that must go on."""

    def __init__(self, server: Server, file: Path) -> None:
        self.server = server
        with_keys = KeyStore(file)
        made = {name: with_keys.create("acme", ["read", "write"]) for name in ("key", "revoked")}
        made["reader"] = with_keys.create("acme", ["read"])
        made["other"] = with_keys.create("umbrella", ["read", "write"])
        made["expired"] = with_keys.create("acme", ["write"], expires_seconds=0.001)
        with_keys.revoke(made["revoked"][0].id)
        self.keys = {name: text for name, (_, text) in made.items()} | {"id": made["key"][0].id}
        with_keys.close()
        time.sleep(1.1)  # the server hears of them
        self.client, self.neighbour = (
            httpx2.Client(
                base_url=server.url,
                headers={"authorization": f"Bearer {self.keys[name]}"},
                timeout=30,
                limits=httpx2.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS / 4),  # never as long as the server: one that it hangs up
            )
            for name in ("key", "other")
        )
        self.at = self.client.post("/v1/sessions").headers["location"]
        assert self.client.post(f"{self.at}/batch", json={"commands": SETUP}).status_code == 200
        self.program = self.client.post(f"{self.at}/programs", json={"commands": PROGRAM, "inputs": ["a", "b"]}).json()["id"]
        looks = {"commands": [{"command": "read", "tensor": "x"}]}
        assert self.client.post(f"{self.at}/batch", json=looks, headers={"idempotency-key": '"used"'}).status_code == 200
        numbered = {"telegrad-client": "d" * 16, "telegrad-batch": "1"}
        assert self.client.post(f"{self.at}/batch", json=looks, headers=numbered).status_code == 200
        self.beside = self.neighbour.post("/v1/sessions").headers["location"]
        self.neighbour.post(f"{self.beside}/tensors", json={"id": "n", "data": [2.0, 3.0], "requires_grad": True})

    def state(self) -> Any:
        listed = self.client.get(f"{self.at}/tensors").json()["tensors"]
        whole = self.client.get(self.at).json()
        return listed, [self.client.get(f"{self.at}/tensors/{n}").json() for n in ("x", "y", "s", "i")], whole["programs"]

    def is_neighbour_well(self) -> bool:
        """Whether a neighbour's gradient is right, in time."""
        commands = [
            {"command": "apply", "op": "mul", "inputs": ["n", "n"], "outputs": ["square"]},
            {"command": "apply", "op": "sum", "inputs": ["square"], "outputs": ["total"]},
            {"command": "grad", "outputs": ["total"], "inputs": ["n"], "results": ["g"]},
            {"command": "read", "tensor": "g"},
            {"command": "release", "tensors": ["square", "total", "g"]},
        ]
        begun = time.monotonic()
        results = self.neighbour.post(f"{self.beside}/batch", json={"commands": commands}).json()["results"]
        return results[-1]["data"] == [4.0, 6.0] and time.monotonic() - begun < 5

    def send(self, row: Case) -> httpx2.Response:
        headers = [(k, v.format(**self.keys) if k == "authorization" else v) for k, v in row.headers.items()]
        url = f"{self.server.url}{self.at}/{row.path.replace('{program}', self.program)}"
        raw = [(k.encode(), v.encode("latin-1")) for k, v in headers if v or k != "authorization"]
        client = self.client if "authorization" not in row.headers else self.neighbour
        request = client.build_request(row.method, url, content=row.body or None, headers=raw)
        if row.headers.get("authorization") == "":
            del request.headers["authorization"]
        return client.send(request)

    def resident_bytes(self) -> int:
        """Of the server and all processes below it."""
        rows = subprocess.run(["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout.split("\n")
        table = {int(pid): (int(parent), int(kibi)) for pid, parent, kibi in (row.split() for row in rows if row.strip())}
        found, todo = 0, [self.server.process.pid]
        while todo:
            pid = todo.pop()
            found += table[pid][1] * 1024
            todo += [child for child, (parent, _) in table.items() if parent == pid]
        return found


@pytest.fixture(scope="module", params=["process", "inline"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    KeyStore(folder / "keys", create=True).close()
    server = Server(
        *("--keys-file", str(folder / "keys"), "--isolation", request.param, "--data-dir", str(folder / "data")),
        *("--stall-seconds", "2", "--head-seconds", "2", "--keep-alive-seconds", str(KEEP_ALIVE_SECONDS)),
    )
    found = Place(server, folder / "keys")
    yield found
    found.client.close()
    found.neighbour.close()
    assert server.stop() == 0
    assert not any("Traceback" in line or "fault" in line for line in server.lines), server.lines


def test_the_table_covers_everything_and_names_are_unique():
    names = [c.name for c in CASES] + [name for name, _ in FRAMES]
    assert len(names) == len(set(names)) >= 300
    kinds = {name.partition(":")[0] for name in names}
    assert {
        "JSON",
        "bytes",
        ".npy",
        "safetensors",
        "batch",
        "op",
        "backward",
        "grad",
        "set",
        "run",
        "program",
        "key",
        "retry",
        "HTTP",
    } <= kinds


@pytest.mark.parametrize("row", CASES, ids=[c.name for c in CASES])
def test_a_bad_request_is_refused_and_nobody_else_notices(place, row):
    before = place.state()

    assert_problem(place.send(row), status=row.status, code=row.code or None)

    assert place.state() == before
    assert place.is_neighbour_well()


def exchange(place: Place, frame: str | bytes) -> bytes:
    """What the server answers to these bytes before it hangs up, which it does."""
    raw = frame.format(at=place.at, key=place.keys["key"]).encode() if isinstance(frame, str) else frame
    host, port = place.server.url.removeprefix("http://").split(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            connection.sendall(raw)
            while piece := connection.recv(65536):
                found += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return found


@pytest.mark.parametrize(("name", "frame"), FRAMES, ids=[name for name, _ in FRAMES])
def test_bad_framing_is_refused_in_time_and_nobody_else_notices(place, name, frame):
    before = place.state()
    begun = time.monotonic()

    found = exchange(place, frame)

    assert time.monotonic() - begun < 8
    statuses = [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", found)]
    assert statuses or not found
    assert set(statuses) <= {400, 404, 405, 408, 413, 415, 422, 431, 501}, found[:300]
    if statuses:
        assert b"application/problem+json" in found
        assert b"x-content-type-options: nosniff" in found
    assert place.state() == before
    assert place.is_neighbour_well()


def test_memory_is_flat_over_the_whole_table(place):
    def everything() -> int:
        for row in CASES:
            place.send(row)
        for _, frame in FRAMES[:28]:  # those that need no deadline
            exchange(place, frame)
        return place.resident_bytes()

    first = everything()
    second = everything()

    assert second - first < FLAT_BYTES, f"{first:,} -> {second:,} bytes"
    assert place.is_neighbour_well()
