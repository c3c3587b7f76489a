"""Many runs of a program in one request: rows of a tensor in each run, values of all runs, how far it is, stopping on the way."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from telegrad.contract.command_fields import decode_command
from telegrad.contract.commands import Run
from telegrad.contract.errors import RunCancelledError, ShapeError
from telegrad.contract.limits import Limits
from telegrad_service.api import events
from telegrad_service.api.app import create_app
from telegrad_service.session.session import Session
from telegrad_service.session.watch import Watch
from telegrad_service.settings import Settings
from tests.places import server_url
from tests.waiting import until, wait_until

EVENTS = "text/event-stream"
STEP: dict[str, Any] = {
    "inputs": ["w", "x", "t"],
    "commands": [
        {"command": "apply", "op": "mul", "inputs": ["w", "x"], "outputs": ["y"]},
        {"command": "apply", "op": "mse_loss", "inputs": ["y", "t"], "outputs": ["loss"]},
        {"command": "backward", "tensors": ["loss"]},
        {"command": "apply", "op": "sub_", "inputs": ["w", "w.grad"], "parameters": {"alpha": 0.1}, "grad_enabled": False},
        {"command": "set", "tensor": "w", "grad": None},
    ],
}
COUNT: dict[str, Any] = {"inputs": ["n"], "commands": [{"command": "apply", "op": "add_", "inputs": ["n", 1]}]}
SETUP = [
    {"command": "create", "id": "weight", "data": [1.0, 1.0], "requires_grad": True},
    {"command": "create", "id": "rows", "data": [[1.0, 2.0], [0.5, -1.0], [2.0, 0.0]]},
    {"command": "create", "id": "target", "data": [3.0, 4.0]},
    {"command": "create", "id": "n", "data": 0},
]
BOUND = {"inputs": {"w": "weight", "t": "target"}, "each": {"x": "rows"}}


def fill(client: Any, at: str) -> str:
    answer = client.post(f"{at}/batch", json={"commands": SETUP})
    assert answer.status_code == 200, answer.text
    return at


def store(client: Any, at: str, program: dict[str, Any]) -> str:
    answer = client.post(f"{at}/programs", json=program)
    assert answer.status_code == 201, answer.text
    return f"{at}/programs/{answer.json()['id']}/run"


def data(client: Any, at: str, name: str) -> Any:
    answer = client.get(f"{at}/tensors/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.fixture
def full(client, at):
    return fill(client, at)


# Rows and values


def test_each_run_gets_its_row_and_gives_its_value(client, at, full):
    run = store(client, at, STEP)
    answer = client.post(run, json={**BOUND, "collect": {"loss": "losses", "y": "ys"}, "outputs": {"loss": "last"}})
    assert answer.status_code == 200, answer.text
    after = data(client, at, "weight")

    by_hand = fill(client, client.post("/v1/sessions").headers["location"])
    losses, ys = [], []
    for row in SETUP[1]["data"]:
        commands = [
            {"command": "create", "id": "x", "data": row},
            *json.loads(json.dumps(STEP["commands"]).replace('"w', '"weight').replace('"t"', '"target"')),
            {"command": "read", "tensor": "loss"},
            {"command": "read", "tensor": "y"},
            {"command": "release", "tensors": ["x", "y", "loss"]},
        ]
        done = client.post(f"{by_hand}/batch", json={"commands": commands}).json()
        losses.append(done["results"][-2]["data"])
        ys.append(done["results"][-1]["data"])

    assert (data(client, at, "losses"), data(client, at, "ys"), data(client, at, "last")) == (losses, ys, losses[-1])
    assert after == data(client, by_hand, "weight")
    assert answer.json()["runs"] == 3
    assert [(t["id"], t["shape"], t["requires_grad"]) for t in answer.json()["tensors"]] == [
        ("last", [], True),
        ("losses", [3], False),
        ("ys", [3, 2], False),
    ]


@pytest.mark.parametrize(("told", "grad"), [({}, [[2, 2], [2, 2], [2, 2]]), ({"grad_enabled": False}, None)])
def test_rows_have_the_history_that_is_asked_for(client, at, full, told, grad):
    client.patch(f"{at}/tensors/rows", json={"requires_grad": True})
    commands = [
        {"command": "apply", "op": "sum", "inputs": ["x"], "outputs": ["s"]},
        {"command": "apply", "op": "add", "inputs": ["s", "w"], "outputs": ["y"]},
        {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["z"]},
        {"command": "backward", "tensors": ["z"]},
    ]
    run = store(client, at, {"inputs": ["x", "w"], "commands": commands})

    answer = client.post(run, json={"inputs": {"w": "weight"}, "each": {"x": "rows"}, **told})

    assert answer.status_code == 200, answer.text
    found = client.get(f"{at}/tensors/rows.grad")
    assert (found.json()["data"] if found.status_code == 200 else None) == grad


def test_a_row_is_a_view_of_its_tensor(client, at, full):
    client.patch(f"{at}/tensors/rows", json={"requires_grad": True})
    double = {"command": "apply", "op": "mul_", "inputs": ["x", 2], "grad_enabled": False}
    total = [{"command": "apply", "op": "sum", "inputs": ["x"], "outputs": ["s"]}, {"command": "backward", "tensors": ["s"]}]
    run = store(client, at, {"inputs": ["x"], "commands": [*total, double]})

    assert client.post(run, json={"each": {"x": "rows"}}).status_code == 200

    assert data(client, at, "rows") == [[2.0, 4.0], [1.0, -2.0], [4.0, 0.0]]
    assert client.get(f"{at}/tensors/rows/grad").json()["data"] == [[1.0, 1.0]] * 3


def test_gradients_are_collected_too(client, at, full):
    run = store(client, at, {"inputs": ["w"], "commands": [*square("w"), {"command": "backward", "tensors": ["s"]}]})

    answer = client.post(run, json={"inputs": {"w": "weight"}, "times": 3, "collect": {"w.grad": "gradients"}})

    assert answer.status_code == 200, answer.text
    assert data(client, at, "gradients") == [[2.0, 2.0], [4.0, 4.0], [6.0, 6.0]]


def square(name: str) -> list[dict[str, Any]]:
    return [
        {"command": "apply", "op": "mul", "inputs": [name, name], "outputs": ["q"]},
        {"command": "apply", "op": "sum", "inputs": ["q"], "outputs": ["s"]},
    ]


def test_what_was_collected_does_not_change_with_its_tensor(client, at, full):
    run = store(client, at, COUNT)

    client.post(run, json={"inputs": {"n": "n"}, "times": 4, "collect": {"n": "counts"}})

    assert (data(client, at, "counts"), data(client, at, "n")) == ([1, 2, 3, 4], 4)


def test_an_index_set_apart_for_each_run_picks_rows_of_data_that_is_there_once(client, at, full):
    picks = {
        "inputs": ["data", "i"],
        "commands": [
            {"command": "apply", "op": "index_select", "inputs": ["data", "i"], "parameters": {"dim": 0}, "outputs": ["b"]}
        ],
    }
    client.post(f"{at}/tensors", json={"id": "order", "data": [[2, 0], [1, 1]]})
    run = store(client, at, picks)

    client.post(run, json={"inputs": {"data": "rows"}, "each": {"i": "order"}, "collect": {"b": "batches"}})

    assert data(client, at, "batches") == [[[2.0, 0.0], [1.0, 2.0]], [[0.5, -1.0], [0.5, -1.0]]]


def test_values_whose_shape_depends_on_values_are_collected_if_they_fit(client, at, full):
    positive = {"inputs": ["x"], "commands": [
        {"command": "apply", "op": "gt", "inputs": ["x", 0], "outputs": ["m"]},
        {"command": "apply", "op": "masked_select", "inputs": ["x", "m"], "outputs": ["p"]},
    ]}  # fmt: skip
    run = store(client, at, positive)
    client.post(f"{at}/tensors", json={"id": "even", "data": [[1.0, -1.0], [-2.0, 2.0]]})

    fits = client.post(run, json={"each": {"x": "even"}, "collect": {"p": "ps"}})
    differs = client.post(run, json={"each": {"x": "rows"}, "collect": {"p": "qs"}})

    assert (fits.status_code, data(client, at, "ps")) == (200, [[1.0], [2.0]])
    assert (differs.json()["type"], differs.json()["run"]) == ("urn:telegrad:problem:shape", 1)
    assert data(client, at, "qs") == [[1.0, 2.0]]


# What cannot be


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({**BOUND, "times": 2}, "argument-value"),
        ({"inputs": BOUND["inputs"], "each": {"x": "n"}}, "shape"),
        ({"inputs": BOUND["inputs"], "each": {"x": "nothing"}}, "not-found"),
        ({"inputs": BOUND["inputs"], "each": {"x": "rows.grad"}}, "not-found"),
        ({"inputs": {**BOUND["inputs"], "x": "target"}, "each": {"x": "rows"}}, "argument-value"),
        ({"inputs": {"w": "weight"}, "each": {"x": "rows"}}, "argument-value"),
        ({"inputs": {"w": "weight"}, "each": {"x": "rows", "t": "target"}}, "shape"),
        ({"inputs": {"w": "weight"}, "each": {"x": "empty", "t": "empty"}}, "shape"),
        ({**BOUND, "collect": {"unmade": "z"}}, "argument-value"),
        ({**BOUND, "collect": {"loss": "weight"}}, "conflict"),
        ({**BOUND, "collect": {"loss": "z"}, "outputs": {"y": "z"}}, "conflict"),
        ({**BOUND, "collect": {"loss": "z.grad"}}, "argument-value"),
        ({**BOUND, "collect": ["loss"]}, "argument-type"),
        ({**BOUND, "each": "rows"}, "argument-type"),
        ({**BOUND, "seconds": 0}, "argument-value"),
        ({**BOUND, "seconds": "1"}, "argument-type"),
        ({**BOUND, "seconds": {"float": "Infinity"}}, "argument-value"),
        ({**BOUND, "times": 1.5}, "argument-type"),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_run(client, at, full, body, kind):
    client.post(f"{at}/tensors", json={"id": "empty", "data": [], "dtype": "float32"})
    run = store(client, at, STEP)
    before = client.get(f"{at}/tensors").json()

    problem = client.post(run, json=body).json()

    assert problem["type"] == f"urn:telegrad:problem:{kind}"
    assert "run" not in problem
    assert client.get(f"{at}/tensors").json() == before


def test_values_that_would_be_too_many_are_refused_before_the_first_run():
    with TestClient(create_app(Settings(limits=Limits(max_tensor_bytes=1000, max_run_times=500)))) as client:
        at = fill(client, client.post("/v1/sessions").headers["location"])
        run = store(client, at, COUNT)

        large = client.post(run, json={"inputs": {"n": "n"}, "times": 126, "collect": {"n": "counts"}}).json()
        often = client.post(run, json={"inputs": {"n": "n"}, "times": 501}).json()

        assert (large["limit"], large["predicted"], large["permitted"]) == ("max_tensor_bytes", 1008, 1000)
        assert (often["limit"], often["predicted"], often["permitted"]) == ("max_run_times", 501, 500)
        assert data(client, at, "n") == 0


def test_a_run_that_fails_leaves_those_before_it_and_their_values(client, at, full):
    client.post(f"{at}/tensors", json={"id": "order", "data": [0, 2, 1, 3, 0]})
    pick = {"command": "apply", "op": "index_select", "inputs": ["data", "i"], "parameters": {"dim": 0}, "outputs": ["b"]}
    run = store(client, at, {"inputs": ["data", "i", "n"], "commands": [*COUNT["commands"], pick]})

    answer = client.post(
        run,
        json={"inputs": {"data": "target", "n": "n"}, "each": {"i": "order"}, "collect": {"b": "bs"}, "outputs": {"b": "last"}},
    )

    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert (problem["run"], problem["times"], problem["command"]) == (1, 5, 1)
    assert data(client, at, "n") == 2  # the commands of the failing run that came before the one that failed stand, as in a batch
    assert client.get(f"{at}/tensors/last").status_code == 404
    assert data(client, at, "bs") == [[3.0]]


def test_time_that_is_over_stops_the_runs_between_two_of_them(client, at, full):
    run = store(client, at, COUNT)

    problem = client.post(run, json={"inputs": {"n": "n"}, "times": 1_000_000, "collect": {"n": "counts"}, "seconds": 0.2}).json()

    assert (problem["type"], problem["limit"]) == ("urn:telegrad:problem:deadline", "seconds")
    assert data(client, at, "n") == problem["run"] > 0
    assert data(client, at, "counts") == list(range(1, problem["run"] + 1))


def test_a_batch_whose_run_is_over_time_stops_there(client, at, full):
    program = client.post(f"{at}/programs", json=COUNT).json()["id"]
    run = {"command": "run", "program": program, "inputs": {"n": "n"}, "times": 1_000_000, "seconds": 0.1}

    problem = client.post(f"{at}/batch", json={"commands": [run, {"command": "release", "tensors": ["n"]}]}).json()

    assert (problem["applied"], problem["failed"]) == (0, 0)
    assert data(client, at, "n") == problem["run"]


# Following and stopping


class Stream:
    """A run that is followed: its events as they come."""

    def __init__(self, client: Any, run: str, body: dict[str, Any], run_id: str | None = None) -> None:
        self._opened = client.stream(
            "POST", run, params={} if run_id is None else {"run_id": run_id}, json=body, headers={"accept": EVENTS}
        )
        self.answer = self._opened.__enter__()
        self._lines = self.answer.iter_lines()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        name = ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))
            else:
                assert not line or line.startswith(":")

    def hang_up(self) -> None:
        self._opened.__exit__(None, None, None)


@pytest.fixture
def http() -> Iterator[Any]:
    with httpx2.Client(base_url=server_url(), timeout=30) as opened:
        yield opened


@pytest.fixture
def there(http) -> Iterator[str]:
    """A session on a real server."""
    address = http.post("/v1/sessions").headers["location"]
    yield fill(http, address)
    http.delete(address)


LONG = {"inputs": {"n": "n"}, "times": 1_000_000, "collect": {"n": "counts"}}


def test_events_tell_how_far_it_is_and_then_what_came_of_it(http, there):
    stream = Stream(http, store(http, there, STEP), {**BOUND, "collect": {"loss": "losses"}}, "mine")

    found = list(stream)

    assert stream.answer.status_code == 200
    assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["cache-control"] == "no-store"
    assert [name for name, _ in found if name != "progress"] == ["started", "result"]
    assert found[0][1] == {"run_id": "mine"}
    plain = http.post(store(http, there, STEP), json={**BOUND, "collect": {"loss": "other"}}).json()
    assert found[-1][1].keys() == plain.keys()
    assert found[-1][1]["runs"] == 3


@pytest.mark.usefixtures("uncollected")
def test_what_came_of_a_run_that_was_followed_goes_when_it_was_told(client, at):
    program = store(client, fill(client, at), STEP)
    for _ in range(3):
        found = client.post(program, json=BOUND, headers={"Accept": EVENTS})
        assert "event: result" in found.text
    assert not any(type(o) is events._Following for o in gc.get_objects())


def test_progress_comes_at_most_ten_times_a_second_and_with_the_latest_number(http, there):
    begin = time.perf_counter()
    told = [what for name, what in Stream(http, store(http, there, COUNT), {**LONG, "seconds": 1}) if name == "progress"]
    took = time.perf_counter() - begin

    assert 3 <= len(told) <= 10 * took + 2
    assert [what["run"] for what in told] == sorted({what["run"] for what in told})
    assert all(what["times"] == LONG["times"] and what["latest"]["n"] == what["run"] for what in told if what["run"])


def stopped_run(http: Any, there: str, problem: Any) -> None:
    done = problem["run"]
    assert problem["type"] == "urn:telegrad:problem:run-cancelled"
    assert 0 < done < LONG["times"]
    assert data(http, there, "n") == done
    assert data(http, there, "counts") == list(range(1, done + 1))
    assert http.get(f"{there}/runs").json() == {"runs": []}


def test_a_run_is_stopped_by_its_id_and_leaves_exactly_what_it_says(http, there):
    stream = Stream(http, store(http, there, COUNT), LONG, "long")
    found = iter(stream)
    assert next(what for name, what in found if name == "progress" and what["run"])

    under_way = http.get(f"{there}/runs").json()["runs"]
    asked = http.delete(f"{there}/runs/long")

    assert [(run["run_id"], run["times"]) for run in under_way] == [("long", LONG["times"])]
    assert asked.status_code == 202
    ended = [(name, what) for name, what in found if name != "progress"]
    assert [name for name, _ in ended] == ["problem"]
    assert ended[0][1]["request_id"] == stream.answer.headers["x-request-id"]
    stopped_run(http, there, ended[0][1])
    assert http.delete(f"{there}/runs/long").status_code == 404


def test_a_plain_request_is_stopped_as_well(http, there):
    answers: list[Any] = []
    run = store(http, there, COUNT)
    waiting = threading.Thread(target=lambda: answers.append(http.post(run, params={"run_id": "plain"}, json=LONG)))
    waiting.start()
    wait_until(lambda: any(r.get("run") for r in http.get(f"{there}/runs").json()["runs"]))

    assert http.delete(f"{there}/runs/plain").status_code == 202

    waiting.join(10)
    assert answers[0].status_code == 409
    stopped_run(http, there, answers[0].json())


def test_hanging_up_stops_the_run(http, there):
    stream = Stream(http, store(http, there, COUNT), LONG)
    assert next(what for name, what in stream if name == "progress" and what["run"])

    stream.hang_up()

    done = data(http, there, "n")  # waits for its turn, which comes when the run has stopped
    assert 0 < done < LONG["times"]
    assert data(http, there, "counts") == list(range(1, done + 1))


def test_a_run_that_waits_for_its_turn_can_be_stopped_before_it_begins(http, there):
    first = Stream(http, store(http, there, COUNT), LONG, "first")
    assert next(iter(first))[0] == "started"
    answers: list[Any] = []
    run = store_elsewhere(http, there)
    waiting = threading.Thread(
        target=lambda: answers.append(http.post(run, params={"run_id": "second"}, json={"inputs": {"n": "n"}}))
    )
    waiting.start()
    wait_until(lambda: len(http.get(f"{there}/runs").json()["runs"]) == 2)

    again = http.post(run, params={"run_id": "second"}, json={"inputs": {"n": "n"}})
    assert http.delete(f"{there}/runs/second").status_code == 202
    assert http.delete(f"{there}/runs/first").status_code == 202
    waiting.join(10)

    assert again.json()["type"] == "urn:telegrad:problem:conflict"
    assert (answers[0].json()["type"], answers[0].json()["run"]) == ("urn:telegrad:problem:run-cancelled", 0)
    first.hang_up()


def store_elsewhere(http: Any, there: str) -> str:
    """The path of a program's run without asking the session, which is busy."""
    with TestClient(create_app()) as client:
        at = client.post("/v1/sessions").headers["location"]
        return f"{there}/programs/{client.post(f'{at}/programs', json=COUNT).json()['id']}/run"


def test_a_batch_tells_how_far_its_runs_are_too(http, there):
    program = http.post(f"{there}/programs", json=COUNT).json()["id"]
    commands = [{"command": "run", "program": program, "inputs": {"n": "n"}, "times": 5}, {"command": "read", "tensor": "n"}]

    whole = list(Stream(http, f"{there}/batch", {"commands": commands}))
    fails = list(Stream(http, f"{there}/batch", {"commands": [*commands, {"command": "release", "tensors": ["nobody"]}]}))
    stopped = list(Stream(http, f"{there}/batch", {"commands": [{**commands[0], "times": 10**6, "seconds": 0.3}, *commands]}))
    refused = http.post(f"{there}/batch", json={"commands": [{}]}, headers={"accept": EVENTS})
    binary = {"command": "read", "tensor": "n", "encoding": "buffer"}

    assert [name for name, _ in whole] == ["started", "progress", "result"]
    assert [result.get("data", result.get("runs")) for result in whole[-1][1]["results"]] == [5, 5]
    assert (fails[-1][0], fails[-1][1]["failed"], fails[-1][1]["results"][1]["data"]) == ("problem", 2, 10)
    assert (stopped[-1][0], stopped[-1][1]["failed"]) == ("problem", 0)
    assert data(http, there, "n") == 10 + stopped[-1][1]["run"]
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert http.post(f"{there}/batch", json={"commands": [binary]}, headers={"accept": EVENTS}).status_code == 406


def test_what_is_refused_at_once_is_a_problem_and_no_stream(http, there):
    run = store(http, there, COUNT)

    missing = http.post(run, json={}, headers={"accept": EVENTS})
    malformed = http.post(run, content=b"{", headers={"accept": EVENTS, "content-type": "application/json"})
    odd = http.post(run, params={"run_id": "a b"}, json={"inputs": {"n": "n"}})

    assert [a.status_code for a in (missing, malformed, odd)] == [422, 400, 422]
    assert {a.headers["content-type"] for a in (missing, malformed, odd)} == {"application/problem+json"}


def test_a_run_that_fails_on_its_way_ends_the_stream_with_its_problem(http, there):
    failing = {"inputs": ["n"], "commands": [*COUNT["commands"], {"command": "apply", "op": "exp", "inputs": ["nobody"]}]}

    found = list(Stream(http, store(http, there, failing), {"inputs": {"n": "n"}, "times": 3}))

    assert (found[-1][0], found[-1][1]["run"], found[-1][1]["command"]) == ("problem", 0, 1)


async def asgi(app: Any, path: str, body: bytes, messages: list[Any]) -> None:
    """Call the application with a request for events; what it sends is put into ``messages``."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "headers": [(b"content-type", b"application/json"), (b"accept", EVENTS.encode())],
    }
    given = iter([{"type": "http.request", "body": body, "more_body": False}])
    never = asyncio.Event()

    async def receive() -> Any:
        message = next(given, None)
        if message is None:
            await never.wait()
        return message

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)


def test_a_long_run_is_heard_of_while_there_is_no_news(monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.02)
    app = create_app()
    go = threading.Event()

    class Slow(Session):
        def run_bound(self, *arguments: Any, **settings: Any) -> Any:
            assert go.wait(10)
            return super().run_bound(*arguments, **settings)

    monkeypatch.setattr("telegrad_service.hosts.durable.Session", Slow)

    async def scenario() -> list[Any]:
        host = app.state.host
        await host.start()
        messages: list[Any] = []
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
                at = (await client.post("/v1/sessions")).headers["location"]
                await client.post(f"{at}/batch", json={"commands": SETUP})
                program = (await client.post(f"{at}/programs", json=COUNT)).json()["id"]
            body = json.dumps({"inputs": {"n": "n"}}).encode()
            call = asyncio.ensure_future(asgi(app, f"{at}/programs/{program}/run", body, messages))
            await until(lambda: sum(m.get("body", b"").startswith(b":") for m in messages) >= 3)
            go.set()
            await call
        finally:
            go.set()
            await host.stop(10)
        return messages

    messages = asyncio.run(asyncio.wait_for(scenario(), 30))

    assert messages[-1]["body"].startswith(b"event: result\ndata: {")
    assert not messages[-1]["more_body"]


def test_a_server_that_stops_lets_runs_stop_after_the_one_they_are_in():
    app = create_app()

    async def scenario() -> tuple[int, Any]:
        host = app.state.host
        await host.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
            at = (await client.post("/v1/sessions")).headers["location"]
            await client.post(f"{at}/batch", json={"commands": SETUP})
            program = (await client.post(f"{at}/programs", json=COUNT)).json()["id"]
            running = asyncio.ensure_future(client.post(f"{at}/programs/{program}/run", json=LONG))
            await until(lambda: any(w.latest for w in host.watches(at.rsplit("/", 1)[-1]).values()))
            unfinished = await host.stop(10)
            return unfinished, await running

    unfinished, answer = asyncio.run(asyncio.wait_for(scenario(), 30))

    assert unfinished == 0
    assert answer.json()["type"] == "urn:telegrad:problem:run-cancelled"
    assert answer.json()["detail"].startswith("the server stops")


# The session itself


def opened() -> Session:
    session = Session("s")
    for command in SETUP:
        session.apply(decode_command(command))
    return session


def test_a_watch_that_was_stopped_before_lets_no_run_begin():
    session = opened()
    program = session.store_program([decode_command(c) for c in COUNT["commands"]], ["n"])
    session.watch = Watch("w")
    session.watch.stop("enough")

    with pytest.raises(RunCancelledError, match="enough: stopped after 0 of 5 runs") as caught:
        session.apply(Run(program.id, {"n": "n"}, times=5, collect={"n": "counts"}))

    assert caught.value.extra == {"run": 0, "times": 5}
    assert session.names.keys() == {"weight", "rows", "target", "n"}
    assert session.names["n"].array == 0


def test_who_hears_of_a_stop_later_is_told_at_once():
    heard: list[str] = []
    watch = Watch("w")
    watch.stop("first")
    watch.stop("second")

    watch.when_stopped(heard.append)

    assert (watch.stopped, heard) == ("first", ["first"])


def test_memory_of_collected_values_counts_while_they_are_collected():
    session = opened()
    program = session.store_program([decode_command(c) for c in COUNT["commands"]], ["n"])
    before = session.summary()["bytes"]

    session.apply(Run(program.id, {"n": "n"}, times=100, collect={"n": "counts"}))

    assert session.summary()["bytes"] == before + 800


def test_collected_values_keep_no_graph_alive():
    session = opened()
    program = session.store_program([decode_command(c) for c in square("w")], ["w"])

    session.apply(Run(program.id, {"w": "weight"}, times=3, collect={"s": "sums"}))

    assert session.summary()["nodes"] == 0
    np.testing.assert_array_equal(session.names["sums"].array, np.full(3, 2, np.float32))


def test_rows_that_do_not_agree_are_told_apart():
    session = opened()
    program = session.store_program([], ["a", "b"])

    with pytest.raises(ShapeError, match=r"different numbers of rows: 2, 3$"):
        session.apply(Run(program.id, each={"a": "rows", "b": "target"}))
