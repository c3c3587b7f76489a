"""Servers that are stopped, killed and started again: sessions are there as they were."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from telegrad_service.hosts.base import Work
from telegrad_service.hosts.openings import Openings
from telegrad_service.journal.sqlite import SqliteJournal
from tests.service.serving import Server
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["process", "inline"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("data"), "--isolation", request.param)
    yield made
    made.stop()


COMMANDS = [
    {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
    {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
    {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["loss"]},
]
BACKWARD = {"command": "backward", "tensors": ["loss"]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_backward_after_a_restart_gives_the_same_bits(server, number):
    at = server("POST", "/v1/sessions", {"seed": 1}).headers["location"]
    assert server("POST", f"{at}/batch", {"commands": COMMANDS}).status_code == 200
    server.restart(number)
    assert at.rpartition("/")[2] in [s["id"] for s in server("GET", "/v1/sessions").json()["sessions"]]
    assert server("POST", f"{at}/backward", {"tensors": ["loss"]}).status_code == 200
    server.restart(number)
    assert server("GET", f"{at}/tensors/x/grad").json()["data"] == [2.0, 4.0, 6.0]
    assert server("DELETE", at).status_code == 204
    server.restart(number)
    assert server("GET", at).status_code == 404


def test_one_key_opens_one_session_and_does_a_thing_once_across_a_restart(server):
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = server("POST", "/v1/sessions", {"seed": 1}, **key)
    at = first.headers["location"]
    assert server("POST", "/v1/sessions", {"seed": 1}, **key).headers["location"] == at
    assert server("POST", f"{at}/batch", {"commands": COMMANDS}, **key).status_code == 422  # another request under that key
    server("POST", f"{at}/batch", {"commands": COMMANDS})
    walk = {"tensors": ["loss"], "retain_graph": True}
    assert server("POST", f"{at}/backward", walk, **{"Idempotency-Key": "walk"}).status_code == 200
    server.restart(signal.SIGKILL)
    again = server("POST", f"{at}/backward", walk, **{"Idempotency-Key": "walk"})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert server("GET", f"{at}/tensors/x/grad").json()["data"] == [2.0, 4.0, 6.0]
    assert server("POST", "/v1/sessions", {"seed": 1}, **key).headers["location"] == at
    other = server("POST", f"{at}/backward", {"tensors": ["loss"]}, **{"Idempotency-Key": "walk"})
    assert other.json()["type"].endswith(":idempotency-key-reused")


def test_a_deleted_session_s_key_opens_no_other_after_a_restart(server):
    key = {"Idempotency-Key": "of-a-session-that-is-deleted"}
    first = server("POST", "/v1/sessions", {"seed": 1}, **key)
    server("DELETE", first.headers["location"])
    server.restart(signal.SIGKILL)

    again = server("POST", "/v1/sessions", {"seed": 1}, **key)

    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (201, first.content, "true")
    assert server("GET", first.headers["location"]).status_code == 404


def test_an_opening_that_was_cut_off_by_a_crash_keeps_its_id_and_its_answer_if_there_was_one(tmp_path):
    journal = SqliteJournal(tmp_path)
    work = Work("open", b'{"seed": 1}', key="k")

    async def opened(before: Openings | None) -> Openings:
        openings = Openings(60)
        openings.keep_in(journal)
        if before is None:
            await openings.keep(openings.begin(work, "t"))
        return openings

    async def scenario() -> None:
        first = await opened(None)
        made = first.find(work, "t")
        first.close()  # the server was killed before it had made the session
        second = await opened(first)
        found = second.find(work, "t")
        assert made is not None
        assert found is not None
        assert (found.session_id, found.again()) == (made.session_id, None)
        assert second.find(work, "another tenant") is None
        second.closed(found.session_id)  # by its id, though nobody knows any more what was answered
        second.close()
        third = await opened(second)
        found = third.find(work, "t")
        assert found is not None
        answer = found.again()
        assert answer is not None
        assert answer.status == 404
        third.forget(found)
        third.close()
        assert journal.notes("opening/") == []

    asyncio.run(scenario())
    journal.close()


def test_a_key_that_is_forgotten_opens_another_session_while_the_first_one_lives(tmp_path):
    server = Server(tmp_path, "--idempotency-seconds", "0.3")
    try:
        key = {"Idempotency-Key": "of-an-hour-ago"}
        first = server("POST", "/v1/sessions", {"seed": 1}, **key).headers["location"]
        time.sleep(0.5)
        second = server("POST", "/v1/sessions", {"seed": 2}, **key).headers["location"]
        assert first != second
        assert {server("GET", at).status_code for at in (first, second)} == {200}
    finally:
        server.stop()


def test_headers_that_make_no_sense_are_refused(server):
    at = server("POST", "/v1/sessions", {}).headers["location"]
    for headers in (
        {"Idempotency-Key": "a b"},
        {"Telegrad-Client": "short", "Telegrad-Batch": "1"},
        {"Telegrad-Client": "c" * 16},
        {"Telegrad-Client": "c" * 16, "Telegrad-Batch": "0"},
        {"Telegrad-Client": "c" * 16, "Telegrad-Batch": "1", "Idempotency-Key": "k"},
    ):
        assert server("POST", f"{at}/batch", {"commands": []}, **headers).status_code == 400, headers


def test_a_second_server_in_the_same_folder_is_refused(server):
    command = [*server.command, "--port", "0"]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "another server uses this folder" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_server_whose_folder_is_deleted_says_so_and_promises_nothing(tmp_path, isolation):
    server = Server(tmp_path / "data", "--isolation", isolation)
    try:
        at = "/v1/sessions/" + server("POST", "/v1/sessions").json()["id"]
        assert server("POST", f"{at}/batch", {"commands": COMMANDS}).status_code == 200
        (tmp_path / "data").rename(tmp_path / "away")
        refused = server("POST", f"{at}/batch", {"commands": [BACKWARD]})
        assert refused.status_code in (503, 507)
        assert "replaced" in refused.json()["detail"]
        wait_until(lambda: server("GET", "/readyz").status_code == 503)
        assert "replaced" in server("GET", "/readyz").json()["detail"]
        assert server("POST", "/v1/sessions").status_code == 503
        assert not (tmp_path / "data").exists()
        (tmp_path / "away").rename(tmp_path / "data")
        wait_until(lambda: server("GET", "/readyz").status_code == 200)
        assert server("POST", f"{at}/batch", {"commands": [BACKWARD]}).status_code == 200
        assert server("GET", at).json()["tensors"] == 3
    finally:
        server.stop()


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_every_line_of_the_log_is_an_object_those_of_session_processes_too(tmp_path, isolation):
    server = Server(tmp_path / "data", "--isolation", isolation, "--log-format", "json", "--access-log")
    at = "/v1/sessions/" + server("POST", "/v1/sessions").json()["id"]
    server("POST", f"{at}/batch", {"commands": COMMANDS})
    server.restart(signal.SIGTERM)
    assert server("GET", at).json()["tensors"] == 3
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    server.stop()
    wait_until(lambda: not server.reader.is_alive())
    told = [json.loads(line) for line in server.lines]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in told)
    assert any("back after" in line["message"] for line in told)


def test_a_deleted_session_leaves_no_file(server):
    at = "/v1/sessions/" + server("POST", "/v1/sessions").json()["id"]
    for _ in range(5):
        assert server("POST", f"{at}/tensors", {"data": 1.0}).status_code == 201
    assert server("DELETE", at).status_code == 204
    folder = Path(server.command[server.command.index("--data-dir") + 1])
    assert not [line for line in server.lines if "ERROR" in line]
    assert not [path.name for path in folder.iterdir() if at.rpartition("/")[2] in path.name]


def test_a_worker_that_is_killed_is_brought_back(tmp_path):
    server = Server(tmp_path)
    at = server("POST", "/v1/sessions", {"seed": 1}).headers["location"]
    server("POST", f"{at}/batch", {"commands": COMMANDS})
    workers = server.workers()
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for _ in range(3):
        answer = server("POST", f"{at}/batch", {"commands": [{"command": "backward", "tensors": ["loss"]}]})
        if answer.status_code == 200:
            break
        assert answer.status_code == 503
    assert server("GET", f"{at}/tensors/x/grad").json()["data"] == [2.0, 4.0, 6.0]
    server.stop()
