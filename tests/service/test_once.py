"""A request that is sent again is done once: by its number or its key, wherever its session lives, while it is done and after."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from telegrad.contract import codec, safetensors
from telegrad.contract.errors import SequenceError
from telegrad_service.api import events
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.once import Once, fingerprint
from telegrad_service.hosts.sums import Arrived, Arriving, sums_of
from tests.service.serving import Server

CLIENT = "client-of-this-test"
EVENTS = {"Accept": "text/event-stream"}
CREATE = {"command": "create", "id": "n", "data": 0.0}
GROW = {"command": "apply", "op": "add_", "inputs": ["n", 1]}
READ = {"command": "read", "tensor": "n"}
LONG = {"command": "apply", "op": "matmul", "inputs": ["big", "big"], "outputs": ["bigger"]}


@pytest.fixture(scope="module", params=["inline none", "inline step", "process none", "process step"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    isolation, durability = request.param.split()
    folder: Path = tmp_path_factory.mktemp("data")
    made = Server(folder, "--isolation", isolation, "--durability", durability)
    yield made
    made.stop()


@pytest.fixture
def at(server: Server) -> Iterator[str]:
    path = server("POST", "/v1/sessions", {"seed": 1}).headers["location"]
    yield path
    server("DELETE", path)


def batch(server: Server, at: str, number: int, *commands: Any, client: str = CLIENT, **headers: str) -> httpx2.Response:
    numbers = {"Telegrad-Client": client, "Telegrad-Batch": str(number)}
    return server("POST", f"{at}/batch", {"commands": commands}, **numbers, **headers)


def value(server: Server, at: str) -> float:
    found: float = server("GET", f"{at}/tensors/n").json()["data"]
    return found


def test_a_number_is_done_once_and_answered_alike(server, at):
    batch(server, at, 1, CREATE)
    first = batch(server, at, 2, GROW, READ)
    again = [batch(server, at, 2, GROW, READ) for _ in range(3)]

    assert first.json()["results"][-1]["data"] == 1.0
    assert {a.content for a in again} == {first.content}
    assert {a.headers["idempotency-replayed"] for a in again} == {"true"}
    assert "idempotency-replayed" not in first.headers
    assert value(server, at) == 1.0


def test_a_number_that_failed_fails_alike_and_uses_its_number(server, at):
    bad = {"command": "apply", "op": "matmul", "inputs": ["n", "n"], "outputs": ["m"]}
    batch(server, at, 1, CREATE)
    first, again = (batch(server, at, 2, GROW, bad) for _ in range(2))

    assert (first.status_code, first.json()["applied"]) == (422, 1)
    assert again.json() == first.json()
    assert batch(server, at, 3, GROW).status_code == 200
    assert value(server, at) == 2.0


def test_another_body_under_a_number_and_a_gap_are_refused_with_the_next_number(server, at):
    batch(server, at, 1, CREATE)
    batch(server, at, 2, GROW)

    other = batch(server, at, 2, GROW, GROW)
    gap = batch(server, at, 5, GROW)
    first = batch(server, at, 2, GROW, client="another-client-here")

    for refused, expected in ((other, 3), (gap, 3), (first, 1)):
        assert refused.status_code == 409
        assert refused.json()["type"] == "urn:telegrad:problem:sequence"
        assert refused.json()["expected"] == expected
    assert value(server, at) == 1.0


def test_numbers_that_overtake_each_other_are_done_in_order(server, at):
    batch(server, at, 1, CREATE)
    doubled = {"command": "apply", "op": "mul_", "inputs": ["n", 2]}
    answers: list[httpx2.Response] = []
    later = threading.Thread(target=lambda: answers.append(batch(server, at, 3, doubled)))
    later.start()
    time.sleep(0.2)
    batch(server, at, 2, GROW)
    later.join(20)

    assert answers[0].status_code == 200
    assert value(server, at) == 2.0


def test_duplicates_that_arrive_at_once_are_done_once(server, at):
    batch(server, at, 1, CREATE, {"command": "create", "id": "big", "data": [[0.5] * 300] * 300})
    answers: list[httpx2.Response] = []
    work = lambda: answers.append(batch(server, at, 2, GROW, LONG, READ))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    assert sorted(a.headers.get("idempotency-replayed", "") for a in answers) == ["", *["true"] * 5]
    assert value(server, at) == 1.0


@pytest.mark.parametrize("route", ["ops", "tensors", "seed", "backward", "grad", "batch"])
def test_a_key_does_every_kind_of_post_once(server, at, route):
    weights = {"command": "create", "id": "w", "data": [1.0], "requires_grad": True}
    total = {"command": "apply", "op": "sum", "inputs": ["w"], "outputs": ["loss"]}
    server("POST", f"{at}/batch", {"commands": [weights, total, CREATE]})
    bodies: dict[str, Any] = {
        "ops": {"op": "add_", "inputs": ["n", 1]},
        "tensors": {"data": [1.0]},
        "seed": {"seed": 7},
        "backward": {"tensors": ["loss"]},
        "grad": {"outputs": ["loss"], "inputs": ["w"]},
        "batch": {"commands": [GROW]},
    }
    first, again = (server("POST", f"{at}/{route}", bodies[route], **{"Idempotency-Key": f"key-{route}"}) for _ in range(2))
    other = server("POST", f"{at}/{route}", {**bodies[route], "more": 1}, **{"Idempotency-Key": f"key-{route}"})

    assert first.status_code in (200, 201, 204), first.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert other.json()["type"] == "urn:telegrad:problem:idempotency-key-reused"


def test_a_late_repeat_of_an_opening_opens_nothing_though_its_session_was_deleted(server):
    key = {"Idempotency-Key": "an-opening-that-comes-late"}
    first = server("POST", "/v1/sessions", {"seed": 1}, **key)
    before = server("GET", "/v1/sessions").json()["sessions"]
    server("DELETE", first.headers["location"])

    again, other = server("POST", "/v1/sessions", {"seed": 1}, **key), server("POST", "/v1/sessions", {"seed": 2}, **key)

    assert (again.status_code, again.content, again.headers["location"]) == (201, first.content, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert other.json()["type"].endswith(":idempotency-key-reused")
    assert len(server("GET", "/v1/sessions").json()["sessions"]) == len(before) - 1
    assert server("GET", first.headers["location"]).status_code == 404


def test_openings_that_arrive_at_once_open_one_session(server):
    key = {"Idempotency-Key": "an-opening-in-eight-copies"}
    found: list[httpx2.Response] = []
    threads = [threading.Thread(target=lambda: found.append(server("POST", "/v1/sessions", {}, **key))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert {r.status_code for r in found} <= {201, 409}
    (place,) = {r.headers["location"] for r in found if r.status_code == 201}
    server("DELETE", place)


def test_a_refused_opening_is_done_anew_under_its_key(server):
    key = {"Idempotency-Key": "an-opening-that-is-refused-first"}
    refused = server("POST", "/v1/sessions", {"seed": "no number"}, **key)
    opened = server("POST", "/v1/sessions", {"seed": 3}, **key)

    assert (refused.status_code, opened.status_code) == (422, 201)
    server("DELETE", opened.headers["location"])


def test_large_arrays_that_differ_in_one_place_are_told_apart(server, at):
    array = np.zeros(100_000)
    bodies = [b"".join(safetensors.pack({"a": array}, {"commands": [{"command": "create", "id": "a", "buffer": "a"}]}))]
    array[77_777] = 1.0
    bodies.append(b"".join(safetensors.pack({"a": array}, {"commands": [{"command": "create", "id": "a", "buffer": "a"}]})))
    headers = {"Content-Type": codec.SAFETENSORS_MEDIA_TYPE, "Telegrad-Client": CLIENT, "Telegrad-Batch": "1"}

    first, again, other = (
        httpx2.post(f"{server.url}{at}/batch", content=body, headers=headers) for body in (bodies[0], bodies[0], bodies[1])
    )

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("size", [0, 3, 5000, 4096 * 3, 200_001])
def test_a_fingerprint_depends_on_each_element_and_its_place(size):
    rng = np.random.default_rng(size)
    array = rng.normal(size=size).astype(np.float32)
    seen = {fingerprint(Work("batch", buffers={"a": array}))}
    for _ in range(20 if size else 0):
        i, j = rng.integers(size, size=2)
        changed, swapped = array.copy(), array.copy()
        changed[i] += 1
        swapped[[i, j]] = swapped[[j, i]]
        seen.add(fingerprint(Work("batch", buffers={"a": changed})))
        assert i == j or fingerprint(Work("batch", buffers={"a": swapped})) not in seen

    assert size == 0 or len(seen) > 2
    assert fingerprint(Work("batch", buffers={"a": array.copy()})) in seen


def test_what_tells_arrays_apart_is_the_same_when_it_is_found_while_they_come():
    rng = np.random.default_rng(0)
    given = {str(size): rng.normal(size=size) for size in (3, 0, 5000, 1, 200_001, 1024 * 128, 0, 77)}
    whole = b"".join(array.tobytes() for array in given.values())
    for before in (0, 1, 40_000):
        arrays = {name: np.empty_like(array) for name, array in given.items()}
        came, arriving = before, Arriving(arrays, before)
        while True:
            at = 0
            for array in arrays.values():
                part = whole[at : min(at + array.nbytes, came)]
                array.reshape(-1).view(np.uint8)[: len(part)] = np.frombuffer(part, np.uint8)
                at += array.nbytes
            arriving.came(came - before)
            if came == len(whole):
                break
            came = min(came + int(rng.integers(1, 300_000)), len(whole))

        assert arriving.finish() == {name: sums_of(array) for name, array in given.items()}
        assert fingerprint(Work("batch", buffers=Arrived(arrays, arriving.finish()))) == fingerprint(Work("batch", buffers=given))


def test_large_answers_are_forgotten_before_small_memory_is_short_and_never_done_again():
    once = Once(10.0)
    answer = Answer((bytes(2**20),))
    works = [Work("batch", b"{}", client=f"{c:016d}", number=n) for n in (1, 2) for c in range(60)]
    for work in works:
        assert once.find(work, 0.0) is None
        once.remember(work, work, answer, 0.0)

    found = [w.number for w in works if _answered(once, w)]
    assert found.count(2) == 60  # each client's last
    assert 0 < len(found) <= 64


def _answered(once: Once, work: Work) -> bool:
    try:
        return once.find(work, 0.0) is not None
    except SequenceError:
        return False


# Runs that are followed ---------------------------------------------------------------------------------------------------------

COUNT = {"inputs": ["n"], "commands": [{"command": "apply", "op": "add_", "inputs": ["n", 1]}]}


def counting(server: Server, at: str, times: int) -> tuple[str, bytes, dict[str, str]]:
    """A request that runs for some seconds."""
    batch(server, at, 1, CREATE)
    program = server("POST", f"{at}/programs", COUNT).json()["id"]
    run = {"command": "run", "program": program, "inputs": {"n": "n"}, "times": times, "seconds": 60}
    headers = {**EVENTS, "Content-Type": "application/json", "Telegrad-Client": CLIENT, "Telegrad-Batch": "2"}
    return f"{server.url}{at}/batch?run_id=mine", json.dumps({"commands": [run, READ]}).encode(), headers


def test_a_stream_that_was_cut_is_taken_up_again_and_the_run_done_once(server, at):
    url, body, headers = counting(server, at, 300_000)
    for _ in range(2):
        with httpx2.stream("POST", url, content=body, headers=headers, timeout=60) as stream:
            for line in stream.iter_lines():
                if '"run":' in line and '"run":0' not in line:
                    break
    with httpx2.stream("POST", url, content=body, headers=headers, timeout=60) as stream:
        told = list(stream.iter_lines())

    assert any(line.startswith("event: progress") for line in told)
    result = json.loads(told[told.index("event: result") + 1].removeprefix("data: "))
    assert result["results"][-1]["data"] == 300_000
    again = httpx2.post(url, content=body, headers=headers, timeout=60)
    assert json.loads(again.text.split("data: ")[-1])["results"] == result["results"]
    assert value(server, at) == 300_000


def test_a_run_under_another_request_s_id_is_still_refused(server, at):
    url, body, headers = counting(server, at, 200_000)
    with httpx2.stream("POST", url, content=body, headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: started"
        other = httpx2.post(url, content=body, headers={**headers, "Telegrad-Client": "another-client-here"}, timeout=60)
        assert other.json()["type"] == "urn:telegrad:problem:conflict"
        httpx2.delete(f"{server.url}{at}/runs/mine")
        assert any("run-cancelled" in line for line in lines)


def test_a_client_that_does_not_come_back_lets_the_run_stop(monkeypatch):
    import asyncio

    from telegrad_service.session.watch import Watch

    monkeypatch.setattr(events, "RETURN_SECONDS", 0.05)

    async def scenario() -> tuple[str | None, str | None]:
        stopped: list[str | None] = []
        for comes_back in (False, True):
            following = events._Following.__new__(events._Following)
            following.watch = Watch("w", repeats=("c", 1, ""))
            following.answer = asyncio.ensure_future(asyncio.sleep(1, Answer()))
            following.hung_up()
            if comes_back:
                following.watch.pass_to(Watch("w", repeats=("c", 1, "")))
            await asyncio.sleep(0.15)
            stopped.append(following.watch.stopped)
        return stopped[0], stopped[1]

    assert asyncio.run(scenario()) == ("hung-up", None)
