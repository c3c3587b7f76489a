"""A real server in a process of its own: its start, what it says to bytes that are no request, and its stop."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from telegrad_service.api import server as server_module
from telegrad_service.settings import Settings
from tests.places import STARTUP_SECONDS, server_url
from tests.waiting import wait_until

README = Path(__file__).resolve().parents[2] / "service" / "README.md"


class Server:
    """``telegrad serve`` on a free port, and what it logs."""

    def __init__(self, *options: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "telegrad_service", "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []
        listening = threading.Event()

        def read() -> None:
            assert self.process.stderr is not None
            with self.process.stderr as stream:
                for line in stream:
                    self.lines.append(line)
                    if "listens on" in line:
                        listening.set()
            listening.set()

        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        assert listening.wait(STARTUP_SECONDS)
        self.url = next(line.split()[-1] for line in self.lines if "listens on" in line)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.reader.join(10)
        return code


def exchange(url: str, request: bytes, answers: int = 0) -> bytes:
    """What a server answers to these bytes: all until it hangs up, or so many answers."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        found = b""
        try:
            connection.sendall(request)
            if not answers:
                connection.shutdown(socket.SHUT_WR)
            while (not answers or found.count(b'{"status":"ok"}') < answers) and (piece := connection.recv(65536)):
                found += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # it hung up while we still had something to say
    return found


def problem_in(raw: bytes) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), raw
    found: dict[str, Any] = json.loads(body)
    return found


def is_at_work(client: httpx2.Client, at: str) -> bool:
    """Whether a request to that session runs or waits."""
    sessions = client.get("/v1/sessions").json()["sessions"]
    return any(at.endswith(str(one["id"])) and one["idle_seconds"] == 0 for one in sessions)


@pytest.fixture(scope="module")
def url() -> str:
    return server_url()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_get_a_problem(url, request_bytes):
    found = exchange(url, request_bytes)

    assert found.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
    assert problem_in(found)["type"].startswith("urn:telegrad:problem:")
    assert httpx2.get(f"{url}/healthz").status_code == 200


def test_a_head_without_end_is_refused(url):
    found = exchange(url, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000_000 + b"\r\n\r\n")

    assert b"head is too long" in found or found == b""  # it may hang up before we have said all
    assert httpx2.get(f"{url}/healthz").status_code == 200


def test_several_requests_share_a_connection(url):
    found = exchange(url, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3, answers=3)

    assert found.count(b"HTTP/1.1 200 OK") == 3


def test_an_upgrade_is_not_taken(url):
    found = exchange(url, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    assert found.startswith(b"HTTP/1.1 200")


def test_a_body_in_chunks_is_read_as_it_arrives(url):
    with httpx2.Client(base_url=url) as client:
        at = client.post("/v1/sessions").headers["location"]
        pieces = (bytes([n]) * 100_000 for n in range(10))

        made = client.post(
            f"{at}/tensors",
            params={"id": "x", "dtype": "uint8", "shape": "10,100000"},
            content=pieces,
            headers={"content-type": "application/octet-stream"},
        )
        back = client.get(f"{at}/tensors/x", headers={"accept": "application/octet-stream"})

    assert made.status_code == 201
    assert back.content == b"".join(bytes([n]) * 100_000 for n in range(10))


def test_a_client_that_hangs_up_in_its_body_leaves_the_server_at_work(url):
    with httpx2.Client(base_url=url) as client:
        at = client.post("/v1/sessions").headers["location"]
        head = f"POST {at}/tensors HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"

        assert exchange(url, head.encode()) == b""

        assert client.get(at).json()["tensors"] == 0


def test_uvloop_and_httptools_serve():
    pytest.importorskip("uvloop")
    code = "import sys; from telegrad_service.api import server; server.run.__globals__['Server'].run = lambda self: print("
    code += "self.config.get_loop_factory().__module__, self.config.http.__mro__[1].__name__); "
    code += "from telegrad_service.settings import Settings; server.run(Settings())"

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert "uvloop" in finished.stdout, finished.stderr
    assert "HttpToolsProtocol" in finished.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_with_0(number):
    server = Server()
    assert httpx2.get(f"{server.url}/readyz").status_code == 200

    assert server.stop(number) == 0
    assert not any("Traceback" in line for line in server.lines)


def test_a_stopping_server_lets_a_computation_end():
    server = Server("--drain-seconds", "30")
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        at = client.post("/v1/sessions").headers["location"]
        commands = [
            {"command": "apply", "op": "full", "parameters": {"size": [1000, 1000], "fill_value": 1.0}, "outputs": ["m"]},
            *({"command": "apply", "op": "matmul", "inputs": ["m", "m"], "outputs": [f"r{i}"]} for i in range(30)),
        ]
        answers: list[httpx2.Response] = []
        asking = threading.Thread(target=lambda: answers.append(client.post(f"{at}/batch", json={"commands": commands})))
        asking.start()
        wait_until(lambda: is_at_work(client, at))

        code = server.stop()
        asking.join(30)

    assert code == 0
    assert [a.status_code for a in answers] == [200]


def test_a_stopping_server_does_not_wait_longer_than_it_may():
    server = Server("--drain-seconds", "1")
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        at = client.post("/v1/sessions").headers["location"]
        commands = [
            {"command": "apply", "op": "full", "parameters": {"size": [3000, 3000], "fill_value": 1.0}, "outputs": ["m"]},
            *[
                {"command": "apply", "op": "matmul", "inputs": ["m", "m"], "outputs": ["p"]},
                {"command": "release", "tensors": ["p"]},
            ]
            * 200,
        ]
        answers: list[httpx2.Response] = []
        asking = threading.Thread(target=lambda: answers.append(client.post(f"{at}/batch", json={"commands": commands})))
        asking.start()
        wait_until(lambda: is_at_work(client, at))
        start = time.monotonic()

        code = server.stop()
        seconds = time.monotonic() - start
        asking.join(30)

    assert code == 3
    assert seconds < 30  # all products would take minutes
    assert [(a.status_code, a.json()["type"]) for a in answers] == [(503, "urn:telegrad:problem:unavailable")]
    assert any("unfinished" in line for line in server.lines)


def test_a_port_that_is_taken_ends_the_start(url):
    port = url.rsplit(":", 1)[-1]

    finished = subprocess.run(
        [sys.executable, "-m", "telegrad_service", "serve", "--port", port], capture_output=True, text=True, check=False, timeout=60
    )

    assert finished.returncode == 1
    assert "in use" in finished.stderr
    assert "--port names another port" in finished.stderr


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_folder_that_cannot_be_used_ends_the_start_with_a_sentence(tmp_path, isolation):
    (tmp_path / "file").touch()
    options = ["--port", "0", "--isolation", isolation, "--data-dir", str(tmp_path / "file" / "below")]

    finished = subprocess.run(
        [sys.executable, "-m", "telegrad_service", "serve", *options], capture_output=True, text=True, check=False, timeout=60
    )

    assert finished.returncode == 1
    assert "the folder of the journal cannot be made: Not a directory; name another one (data_dir)" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "--port names" not in finished.stderr


def test_a_folder_of_its_own_that_the_server_cannot_make_is_warned_of(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    settings = server_module._with_folder(Settings())
    assert settings.data_dir == ""
    assert "cannot be kept in" in caplog.text
    assert "Not a directory" in caplog.text


def test_a_misspelt_variable_is_warned_of():
    server = Server(TELEGRAD_MAX_TENSOR="1")
    server.stop()

    assert any("TELEGRAD_MAX_TENSOR is no setting" in line for line in server.lines)


def walks() -> list[list[tuple[str, str]]]:
    """The README's blocks of requests: each command with the answer that is promised below it, if any."""
    found = re.findall(r"^```console server\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\$ (.*)\n((?:\{.*\n)?)", block, re.MULTILINE) for block in found]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walks use curl")
@pytest.mark.parametrize("walk", walks(), ids=["steps", "batch", "runs", "events", "data"])
def test_the_readmes_walks_with_curl_answer_what_they_promise(url, walk):
    mark = "--- next ---"
    lines = ["set -euo pipefail", *(f"{command.replace('curl -s', 'curl -sSf')}; echo; echo '{mark}'" for command, _ in walk)]

    done = subprocess.run(
        ["bash", "-c", "\n".join(lines).replace("http://127.0.0.1:8000", url)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(mark)
    for (command, promised), said in zip(walk, printed, strict=False):
        if promised:
            wanted, answer = json.loads(promised), json.loads(said)
            assert {name: answer.get(name) for name in wanted} == wanted, command


def test_the_walks_are_whole():
    assert [len(w) for w in walks()] == [14, 2, 6, 5, 5]
