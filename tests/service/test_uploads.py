"""Large bodies that come quickly are received where they stay: whole, in order, and without harm where they do not come whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import httpx2
import numpy as np
import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl

import telegrad
from telegrad.contract import codec, neighbours, safetensors
from telegrad_service.api import line, protocol
from telegrad_service.api.app import create_app
from telegrad_service.hosts import lending
from telegrad_service.settings import Settings
from tests.service.test_server import Server

STALL_SECONDS = 1.5
SIZE = 1_000_003
"""Float64 elements: 8 MB, no whole number of pages."""

TYPES = {
    "application/vnd.safetensors": "",
    "application/x-npy": "?id=x",
    "application/octet-stream": f"?id=x&dtype=float64&shape={SIZE}",
}


@pytest.fixture(scope="module", params=["process", "inline"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    opened = Server("--stall-seconds", str(STALL_SECONDS), "--isolation", request.param, "--durability", "none")
    yield opened
    opened.stop()


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=20) as opened:  # what the server would wait for takes 30 by default
        yield opened


@pytest.fixture
def at(client: httpx2.Client) -> str:
    return str(client.post("/v1/sessions").headers["location"])


def numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SIZE)


def body_of(array: np.ndarray, media_type: str) -> bytes:
    if media_type == codec.SAFETENSORS_MEDIA_TYPE:
        return b"".join(safetensors.pack({"x": array}))
    if media_type == codec.NPY_MEDIA_TYPE:
        import io

        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()
    return array.tobytes()


class Line:
    """One connection, over which requests go byte by byte as the test wants, and answers come."""

    def __init__(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def head(self, path: str, media_type: str, length: int, *more: str) -> None:
        lines = [f"POST {path} HTTP/1.1", "host: a", f"content-type: {media_type}", f"content-length: {length}", *more, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        found = b""
        while b"\r\n\r\n" not in found:
            piece = self.socket.recv(65536)
            assert piece, found
            found += piece
        head, _, body = found.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        while len(body) < length:
            body += self.socket.recv(65536)
        return int(head.split()[1]), body

    def is_open(self) -> bool:
        """Whether another request is answered."""
        try:
            self.socket.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            return self.socket.recv(65536).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


@pytest.mark.parametrize("media_type", TYPES)
def test_every_form_of_a_large_array_comes_whole_and_the_connection_goes_on(server, client, at, media_type):
    with Line(server) as line:
        for seed in range(3):
            array = numbers(seed)
            body = body_of(array, media_type)
            line.head(f"{at}/tensors{TYPES[media_type]}", media_type, len(body))
            line.socket.sendall(body)
            assert line.answer()[0] == 201
            read = client.get(f"{at}/tensors/x", headers={"accept": codec.BYTES_MEDIA_TYPE})
            assert read.content == array.tobytes()
            assert client.delete(f"{at}/tensors/x").status_code == 204
            assert line.is_open()


def test_arrays_of_all_types_in_one_body_come_whole(server):
    rng = np.random.default_rng(1)
    arrays = {
        "flags": rng.random(700_001) < 0.5,
        "small": np.arange(3, dtype=np.int16),
        "none": np.zeros((0, 4), np.float32),
        "waves": rng.normal(size=(300, 1001)) + 1j,
        "one": np.array(7, np.int64),
        "bytes": rng.integers(0, 255, (1_000_001,), np.uint8),
    }
    with telegrad.connect(server.url):
        tensors = {name: telegrad.tensor(array) for name, array in arrays.items()}
        for name, tensor in tensors.items():
            assert tensor.numpy().tobytes() == arrays[name].tobytes()
            assert tuple(tensor.shape) == arrays[name].shape


def test_a_transposed_npy_and_one_of_the_other_byte_order_come_whole(client, at):
    array = numbers().reshape(-1, 1)[:1_000_000].reshape(1000, 1000)
    for name, sent in (("t", np.asfortranarray(array)), ("b", array.astype(">f8"))):
        body = body_of(sent, codec.NPY_MEDIA_TYPE)
        made = client.post(f"{at}/tensors?id={name}", content=body, headers={"content-type": codec.NPY_MEDIA_TYPE})
        assert made.status_code == 201
        read = client.get(f"{at}/tensors/{name}", headers={"accept": codec.BYTES_MEDIA_TYPE})
        assert read.content == array.tobytes()


def test_what_is_counted_is_what_was_received(server, client, at):
    def received() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("telegrad_received_bytes_total"))

    before = received()
    client.post(f"{at}/tensors?id=x&dtype=float64&shape={SIZE}", content=numbers().tobytes(), headers=BYTES)
    assert received() - before == 8 * SIZE


BYTES = {"content-type": codec.BYTES_MEDIA_TYPE}


@pytest.mark.parametrize("ends", ["hangs up", "stands still"])
def test_a_body_that_breaks_off_changes_nothing_and_holds_nobody_for_long(server, client, at, ends):
    body = numbers().tobytes()
    with Line(server) as line:
        line.head(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", codec.BYTES_MEDIA_TYPE, len(body))
        line.socket.sendall(body[: len(body) // 2])
        if ends == "hangs up":
            line.socket.close()
        else:
            status, answer = line.answer()
            assert status == 408
            assert json.loads(answer)["type"] == "urn:telegrad:problem:request-timeout"
            assert not line.is_open()
        assert client.get(at).json()["tensors"] == 0


def test_a_slow_body_holds_nobody_at_all(server, client, at):
    """One that does not begin quickly is received before its session's turn."""
    body = numbers().tobytes()
    with Line(server) as line:
        line.head(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", codec.BYTES_MEDIA_TYPE, len(body))
        sent = 0
        while sent < len(body):
            step = 30_000 if sent < 90_000 else 2_000_000
            line.socket.sendall(body[sent : sent + step])
            sent += step
            time.sleep(0.1)
            found = client.get(at).json()["tensors"]
            assert found == 0 or sent >= len(body)
        assert line.answer()[0] == 201  # whoever had waited for the body, would have let it stand still for too long


@pytest.mark.parametrize(("extra", "status"), [(-8, 400), (8, 400)])
def test_a_body_that_does_not_fit_its_header_is_refused(server, client, at, extra, status):
    body = b"".join(safetensors.pack({"x": numbers()}))
    sent = body[:extra] if extra < 0 else body + bytes(extra)
    with Line(server) as line:
        line.head(f"{at}/tensors", codec.SAFETENSORS_MEDIA_TYPE, len(sent))
        line.socket.sendall(sent)
        assert line.answer()[0] == status
        assert line.is_open()
    assert client.get(at).json()["tensors"] == 0


def test_booleans_that_are_none_are_refused_and_the_connection_goes_on(server, client, at):
    body = np.full(3_000_000, 2, np.uint8).tobytes()
    with Line(server) as line:
        line.head(f"{at}/tensors?id=x&dtype=bool&shape={len(body)}", codec.BYTES_MEDIA_TYPE, len(body))
        line.socket.sendall(body)
        status, answer = line.answer()
        assert (status, json.loads(answer)["type"]) == (400, "urn:telegrad:problem:request")
        assert line.is_open()
    assert client.get(at).json()["tensors"] == 0


def batch(name: str, array: np.ndarray) -> bytes:
    return b"".join(safetensors.pack({"b": array}, {"commands": [{"command": "create", "id": name, "buffer": "b"}]}))


def numbered(number: int) -> dict[str, str]:
    return {"content-type": codec.SAFETENSORS_MEDIA_TYPE, "telegrad-client": "c" * 16, "telegrad-batch": str(number)}


def test_a_numbered_upload_is_done_once_and_another_under_its_number_is_refused(client, at):
    body = batch("x", numbers())
    first, again = (client.post(f"{at}/batch", content=body, headers=numbered(1)) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"

    changed = numbers()
    changed[-1] += 1
    other = client.post(f"{at}/batch", content=batch("x", changed), headers=numbered(1))
    assert other.status_code == 409
    assert other.json()["taken"] is True


def test_an_upload_that_is_repeated_slowly_is_known_again(server, client, at):
    body = batch("x", numbers())
    assert client.post(f"{at}/batch", content=body, headers=numbered(1)).status_code == 200
    for last, status in ((body[-1], 200), (body[-1] ^ 1, 409)):
        with Line(server) as line:
            head = [f"{name}: {value}" for name, value in numbered(1).items() if name != "content-type"]
            line.head(f"{at}/batch", codec.SAFETENSORS_MEDIA_TYPE, len(body), *head)
            line.socket.sendall(body[:1000])
            time.sleep(0.3)
            line.socket.sendall(body[1000:-1] + bytes([last]))
            assert line.answer()[0] == status


def test_memory_that_is_used_again_shows_nothing_of_before(server, client, at):
    for number, size in enumerate((SIZE, SIZE // 2, 200_000, SIZE - 1, SIZE)):
        array = np.full(size, float(number))
        path = f"{at}/tensors?id=x&dtype=float64&shape={size}"
        with Line(server) as line:  # it comes too short, and then whole
            line.head(path, codec.BYTES_MEDIA_TYPE, array.nbytes)
            line.socket.sendall(array.tobytes()[: array.nbytes // 2])
        assert client.post(path, content=array.tobytes(), headers={"content-type": codec.BYTES_MEDIA_TYPE}).status_code == 201
        read = client.get(f"{at}/tensors/x", headers={"accept": codec.BYTES_MEDIA_TYPE})
        assert read.content == array.tobytes()
        assert client.delete(f"{at}/tensors/x").status_code == 204


def test_an_upload_that_overtakes_another_waits_for_it(server, client, at):
    body = batch("y", numbers(2))
    with Line(server) as line:
        head = [f"{name}: {value}" for name, value in numbered(2).items() if name != "content-type"]
        line.head(f"{at}/batch", codec.SAFETENSORS_MEDIA_TYPE, len(body), *head)
        sender = threading.Thread(target=line.socket.sendall, args=(body,))  # it may wait until it is read
        sender.start()
        time.sleep(0.2)
        assert client.post(f"{at}/batch", content=batch("x", numbers()), headers=numbered(1)).status_code == 200
        assert line.answer()[0] == 200
        sender.join()
        assert line.is_open()
    assert client.get(at).json()["tensors"] == 2


def test_an_upload_for_a_session_that_is_not_there_is_refused_before_it_is_read(server, client):
    with Line(server) as line:
        line.head("/v1/sessions/nobody/batch", codec.SAFETENSORS_MEDIA_TYPE, 100_000_000)
        assert line.answer()[0] == 404


def test_uploads_wait_for_their_sessions_turn(server, client, at):
    """Nothing of them is lost while the session does something else."""
    slow: dict[str, Any] = {"op": "ones", "parameters": {"size": [1200, 1200]}, "outputs": ["m"]}
    assert client.post(f"{at}/ops", json=slow).status_code == 200
    commands = [{"command": "apply", "op": "matmul", "inputs": ["m", "m"], "outputs": ["p"]}] * 3
    with Line(server) as line, Line(server) as other:
        text = json.dumps({"commands": commands}).encode()
        other.head(f"{at}/batch", "application/json", len(text))
        other.socket.sendall(text)
        body = numbers().tobytes()
        line.head(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", codec.BYTES_MEDIA_TYPE, len(body))
        line.socket.sendall(body)
        assert other.answer()[0] in (200, 409, 422)
        assert line.answer()[0] == 201
    read = client.get(f"{at}/tensors/x", headers={"accept": codec.BYTES_MEDIA_TYPE})
    assert read.content == body


@pytest.mark.parametrize(
    ("came", "seconds", "missing", "quick"),
    [
        (256 * 1024, 0.001, 8_000_000, True),
        (256 * 1024, 0.001, 100_000, False),  # not worth it
        (10_000, 0.0, 8_000_000, False),  # nobody can tell yet
        (256 * 1024, 0.5, 8_000_000, False),  # 500 kB/s
        (2**20, 0.001, 2**30, True),
        (2**20, 0.001, 2**32, False),  # it would take four seconds
        (2**23, 0.001, 2**30, False),  # too late
        (0, 0.0, 2**30, False),
    ],
)
def test_what_is_quick_is_told_by_how_it_begins(came, seconds, missing, quick):
    assert lending.is_quick(came, seconds, missing) is quick


# Answers


@pytest.mark.parametrize("media_type", TYPES)
def test_large_answers_come_whole_one_after_the_other_over_one_connection(server, client, at, media_type):
    array = numbers()
    client.post(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", content=array.tobytes(), headers=BYTES)
    for _ in range(5):
        read = client.get(f"{at}/tensors/x", headers={"accept": media_type})
        assert read.content == body_of(array, media_type)
        assert client.get(at).status_code == 200


def test_requests_sent_ahead_are_answered_in_order(server, client, at):
    """The next request may be there before the server has heard that the body before it has left."""
    array = numbers()
    client.post(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", content=array.tobytes(), headers=BYTES)
    with Line(server) as line:
        read = f"GET {at}/tensors/x HTTP/1.1\r\nhost: a\r\naccept: {codec.BYTES_MEDIA_TYPE}\r\n\r\n".encode()
        line.socket.sendall(read + read + b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        found = b""
        while b'{"status":"ok"}' not in found[-400:]:
            piece = line.socket.recv(2**20)
            assert piece
            found += piece
    assert found.count(b"HTTP/1.1 200") == 3
    assert found.count(array.tobytes()) == 2


def test_the_head_of_a_large_answer_is_all_that_head_gets(server, client, at):
    client.post(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", content=numbers().tobytes(), headers=BYTES)
    with Line(server) as line:
        line.socket.sendall(f"HEAD {at}/tensors/x HTTP/1.1\r\nhost: a\r\naccept: {codec.BYTES_MEDIA_TYPE}\r\n\r\n".encode())
        time.sleep(0.3)
        found = line.socket.recv(65536)
        assert found.endswith(b"\r\n\r\n")
        assert f"content-length: {8 * SIZE}".encode() in found
        assert line.is_open()


def test_a_compressed_answer_comes_whole(client, at):
    array = np.zeros(SIZE)
    client.post(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", content=array.tobytes(), headers=BYTES)
    headers = {"accept": codec.BYTES_MEDIA_TYPE, "accept-encoding": "zstd"}
    with client.stream("GET", f"{at}/tensors/x", headers=headers) as answer:
        assert answer.headers["content-encoding"] == "zstd"
        raw = b"".join(answer.iter_raw())
    from telegrad.contract.compression import Decompressor

    decompressor = Decompressor()
    decompressor.feed(raw)
    found = b""
    while piece := decompressor.read(2**20):
        found += piece
    assert found == array.tobytes()


def test_who_hangs_up_in_the_middle_of_an_answer_leaves_the_session_as_it_was(server, client, at):
    client.post(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", content=numbers().tobytes(), headers=BYTES)
    for _ in range(3):
        with Line(server) as line:
            line.socket.sendall(f"GET {at}/tensors/x HTTP/1.1\r\nhost: a\r\naccept: {codec.BYTES_MEDIA_TYPE}\r\n\r\n".encode())
            line.socket.recv(65536)
        assert client.get(f"{at}/tensors/x?data=false").status_code == 200


def test_what_is_counted_as_sent_is_what_was_sent(server, client, at):
    def sent() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("telegrad_sent_bytes_total"))

    client.post(f"{at}/tensors{TYPES[codec.BYTES_MEDIA_TYPE]}", content=numbers().tobytes(), headers=BYTES)
    before = sent()
    client.get(f"{at}/tensors/x", headers={"accept": codec.BYTES_MEDIA_TYPE})
    assert 8 * SIZE <= sent() - before < 8 * SIZE + 100_000  # the metrics' own page is an answer, too


@contextlib.contextmanager
def served_here() -> Iterator[str]:
    """The address of a server in this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(create_app(Settings(durability="none")), http=protocol.Protocol, log_level="error")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(10)


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_encrypted_connection_is_not_lent(monkeypatch, encrypted):
    made: list[Any] = []

    class Noted(line.Line):
        def __init__(self, *arguments: Any) -> None:
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(protocol, "Line", Noted)
    monkeypatch.setattr(httptools_impl, "is_ssl", lambda _transport: encrypted)
    with served_here() as url, httpx2.Client(base_url=url, timeout=30) as client:
        at = client.post("/v1/sessions").headers["location"]
        body, media_type = body_of(numbers(), codec.SAFETENSORS_MEDIA_TYPE), codec.SAFETENSORS_MEDIA_TYPE
        client.post(f"{at}/tensors", content=body, headers={"content-type": media_type}).raise_for_status()
        back = client.get(f"{at}/tensors/x", headers={"accept": media_type})
        assert safetensors.unpack(back.content)[0]["x"].tobytes() == numbers().tobytes()
    assert bool(made) is not encrypted


def test_neither_end_of_a_connection_within_this_machine_is_paced(monkeypatch):
    ports: set[tuple[int, int]] = set()

    def noted(connection: Any) -> None:
        ports.add((connection.getsockname()[1], connection.getpeername()[1]))

    monkeypatch.setattr(neighbours, "unpace", noted)
    with served_here() as url:
        with telegrad.connect(url):
            assert telegrad.ones(2).tolist() == [1, 1]

        async def awaited() -> None:
            async with telegrad.connect_async(url) as session:
                assert await session.ones(2).tolist() == [1, 1]

        asyncio.run(awaited())
    assert ports == {(there, here) for here, there in ports}
    assert len(ports) == 4
