"""Sessions in the server's process: turns in order, nobody waits for a neighbour, nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import numpy as np
import pytest

from telegrad.contract import codec, modes
from telegrad.contract.errors import NotFoundError, StorageError, TelegradError, UnavailableError
from telegrad.contract.limits import Limits
from telegrad_service.api.app import create_app
from telegrad_service.hosts import verbs
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.inline import InlineHost
from telegrad_service.hosts.keeping import Keeping
from telegrad_service.journal.base import Kept
from telegrad_service.journal.sqlite import SqliteJournal
from telegrad_service.settings import Settings
from tests.waiting import until

MODERATE_SECONDS = 5.0
"""On a busy machine; what must not be waited for takes longer."""


def make_host(limits: Limits | None = None, *, threads: int = 8, waiting: int = 100) -> InlineHost:
    return InlineHost(limits or Limits(), compute_threads=threads, max_waiting_requests=waiting)


def run(scenario: Callable[[InlineHost], Awaitable[Any]], host: InlineHost | None = None) -> Any:
    """The scenario with a started host, which is stopped at the end."""

    async def whole() -> Any:
        used = host or make_host()
        await used.start()
        try:
            return await scenario(used)
        finally:
            await used.stop(10)

    return asyncio.run(whole())


async def opened(host: InlineHost) -> str:
    answer = await host.open(Work("open"))
    assert answer.created is not None
    return answer.created


@pytest.fixture
def gate(monkeypatch) -> Any:
    """A verb ``wait`` that computes until it is let go, and a verb ``note`` that writes its argument down."""

    class Gate:
        started: threading.Semaphore
        go: threading.Event
        notes: list[Any]

    def wait(_session: Any, work: Work) -> Answer:
        Gate.started.release()
        assert Gate.go.wait(10)
        Gate.notes.append(("waited", work.arguments.get("n")))
        return Answer()

    def note(_session: Any, work: Work) -> Answer:
        Gate.notes.append(work.arguments["n"])
        return Answer()

    Gate.notes = []
    Gate.go = threading.Event()
    Gate.started = threading.Semaphore(0)
    monkeypatch.setattr(verbs, "VERBS", {**verbs.VERBS, "wait": wait, "note": note})
    yield Gate
    Gate.go.set()


async def begun(gate: Any) -> None:
    """Until a ``wait`` runs in its thread."""
    assert await asyncio.to_thread(gate.started.acquire, timeout=10)


def test_one_session_does_one_thing_at_a_time_in_the_order_of_arrival(gate):
    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        first = asyncio.ensure_future(host.do(session, Work("wait", arguments={"n": 0})))
        await begun(gate)
        others = [asyncio.ensure_future(host.do(session, Work("note", arguments={"n": n}))) for n in range(20)]
        await asyncio.sleep(0.05)
        assert gate.notes == []
        gate.go.set()
        await asyncio.gather(first, *others)

    run(scenario)

    assert gate.notes == [("waited", 0), *range(20)]


def test_a_session_does_not_wait_for_another(gate):
    async def scenario(host: InlineHost) -> float:
        busy, free = await opened(host), await opened(host)
        computing = asyncio.ensure_future(host.do(busy, Work("wait")))
        await begun(gate)
        start = time.perf_counter()
        await host.do(free, Work("summary"))
        waited = time.perf_counter() - start
        assert not computing.done()
        gate.go.set()
        await computing
        return waited

    assert run(scenario) < MODERATE_SECONDS


def test_a_caller_who_goes_away_does_not_let_the_next_one_in_early(gate):
    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        gone = asyncio.ensure_future(host.do(session, Work("wait", arguments={"n": 1})))
        await begun(gate)
        gone.cancel()
        following = asyncio.ensure_future(host.do(session, Work("note", arguments={"n": 2})))
        await asyncio.sleep(0.05)
        assert gate.notes == []
        gate.go.set()
        await following
        with pytest.raises(asyncio.CancelledError):
            await gone

    run(scenario)

    assert gate.notes == [("waited", 1), 2]


def test_a_session_deleted_while_it_computes_finishes_and_refuses_those_who_wait(gate):
    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        computing = asyncio.ensure_future(host.do(session, Work("wait")))
        await begun(gate)
        waiting = asyncio.ensure_future(host.do(session, Work("summary")))
        await asyncio.sleep(0)
        await host.close(session)
        with pytest.raises(NotFoundError):
            await host.do(session, Work("summary"))
        gate.go.set()
        assert await computing == Answer()
        with pytest.raises(NotFoundError, match="deleted"):
            await waiting

    run(scenario)


def test_deleting_a_session_frees_its_memory():
    kept: list[Any] = []

    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        data = np.zeros(2**18)
        kept.append(weakref.ref(data))
        await host.do(session, Work("create", arguments={"id": "x", "requires_grad": True}, buffers={"array": data}))
        del data
        body = codec.dump_json({"op": "mul", "inputs": ["x", "x"]})
        await host.do(session, Work("apply", body))
        assert kept[0]() is not None
        await host.close(session)
        gc.collect()
        assert kept[0]() is None

    run(scenario)


def test_an_idle_session_is_closed_and_a_used_one_is_not():
    async def scenario(host: InlineHost) -> None:
        idle, used = await opened(host), await opened(host)
        while idle in (one.id for one in host.list("", 0, 10)[0]):
            await host.do(used, Work("summary"))
            await asyncio.sleep(0.05)
        with pytest.raises(NotFoundError):
            host.require(idle, "")
        host.require(used, "")

    run(lambda host: asyncio.wait_for(scenario(host), 60), make_host(Limits(idle_seconds=1.0)))


def test_one_session_that_cannot_be_deleted_keeps_no_other_from_leaving(tmp_path, monkeypatch):
    delete = SqliteJournal.delete
    tried: list[str] = []

    def refuse_the_first(journal: SqliteJournal, session: Kept) -> None:
        tried.append(session.id)
        if session.id == tried[0]:
            raise StorageError("the disk says no")
        delete(journal, session)

    monkeypatch.setattr(SqliteJournal, "delete", refuse_the_first)

    async def scenario(host: InlineHost) -> None:
        for _ in range(2):
            await opened(host)
        await until(lambda: len(set(tried)) == 2)
        later = await opened(host)
        await until(lambda: later in tried)

    keeping = Keeping(f"sqlite:///{tmp_path}", retention_seconds=0.1)
    run(scenario, InlineHost(Limits(idle_seconds=0.1), compute_threads=2, max_waiting_requests=10, keeping=keeping))
    assert len(list(tmp_path.glob("*.sqlite"))) == 1


def test_a_session_that_computes_is_not_idle(gate):
    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        computing = asyncio.ensure_future(host.do(session, Work("wait")))
        await begun(gate)
        await asyncio.sleep(0.4)
        host.require(session, "")
        gate.go.set()
        await computing

    run(scenario, make_host(Limits(idle_seconds=0.1)))


def test_those_who_wait_are_bounded(gate):
    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        asked = [asyncio.ensure_future(host.do(session, Work("wait")))]
        await begun(gate)
        asked += [asyncio.ensure_future(host.do(session, Work("summary"))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="3 requests wait"):
            await host.do(session, Work("summary"))
        gate.go.set()
        await asyncio.gather(*asked)
        await host.do(session, Work("summary"))

    run(scenario, make_host(waiting=3))


def test_a_mode_that_one_request_sets_is_not_the_next_ones(monkeypatch):
    seen: list[bool] = []

    def leave_behind(_session: Any, _work: Work) -> Answer:
        seen.append(modes.is_grad_enabled())
        modes.set_mode(False)
        return Answer()

    monkeypatch.setattr(verbs, "VERBS", {**verbs.VERBS, "leave": leave_behind})

    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        for _ in range(4):
            await host.do(session, Work("leave"))

    run(scenario, make_host(threads=1))

    assert seen == [True] * 4


def test_a_draining_host_finishes_what_it_began_and_refuses_the_rest(gate):
    async def scenario() -> None:
        host = make_host()
        await host.start()
        session = await opened(host)
        computing = asyncio.ensure_future(host.do(session, Work("wait")))
        await begun(gate)
        stopping = asyncio.ensure_future(host.stop(5))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="draining"):
            await host.do(session, Work("summary"))
        with pytest.raises(UnavailableError):
            await host.open(Work("open"))
        gate.go.set()
        assert await stopping == 0
        assert await computing == Answer()
        assert host.state == "stopped"

    asyncio.run(scenario())


def test_stopping_is_bounded_though_a_computation_is_not(gate):
    async def scenario() -> tuple[int, float]:
        host = make_host()
        await host.start()
        session = await opened(host)
        computing = asyncio.ensure_future(host.do(session, Work("wait")))
        await begun(gate)
        start = time.perf_counter()
        unfinished = await host.stop(0.1)
        stopped = time.perf_counter() - start
        gate.go.set()
        await computing
        return unfinished, stopped

    unfinished, seconds = asyncio.run(scenario())

    assert unfinished == 1
    assert seconds < MODERATE_SECONDS


def test_writers_of_one_session_are_explained_by_one_order():
    """64 requests change a tensor in place at once: every answer is a state of one serial order."""

    async def scenario(host: InlineHost) -> list[Any]:
        session = await opened(host)
        await host.do(session, Work("create", codec.dump_json({"id": "x", "data": 0.0})))
        commands = [{"command": "apply", "op": "add_", "inputs": ["x", 1]}, {"command": "read", "tensor": "x"}]
        body = codec.dump_json({"commands": commands})
        answers = await asyncio.gather(*[host.do(session, Work("batch", body)) for _ in range(64)])
        return [codec.load_json(b"".join(a.pieces), max_depth=9)["results"][-1]["data"] for a in answers]

    assert run(scenario) == [float(n + 1) for n in range(64)]


def test_an_error_leaves_the_host_at_work():
    async def scenario(host: InlineHost) -> None:
        session = await opened(host)
        for _ in range(3):
            with pytest.raises(TelegradError):
                await host.do(session, Work("apply", b"{}"))
        await host.do(session, Work("summary"))

    run(scenario)


def test_the_event_loop_answers_while_a_session_computes_and_large_bodies_are_parsed():
    """Really computing, through the application: /healthz and a neighbour stay quick beside matrix products and 10 MB of JSON."""
    app = create_app(Settings())
    heavy = {
        "commands": [
            {"command": "apply", "op": "full", "parameters": {"size": [1200, 1200], "fill_value": 1.0}, "outputs": ["m"]},
            *({"command": "apply", "op": "matmul", "inputs": ["m", "m"], "outputs": [f"r{i}"]} for i in range(8)),
        ]
    }
    text = b'{"id":"big","data":[' + b"0.123456789," * 900_000 + b"0]}"

    async def scenario() -> tuple[list[float], list[float]]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://telegrad.test", timeout=60) as client:
            busy, parsing, free = [(await client.post("/v1/sessions")).headers["location"] for _ in range(3)]
            work = [
                asyncio.ensure_future(client.post(f"{busy}/batch", json=heavy)),
                asyncio.ensure_future(
                    client.post(f"{parsing}/tensors", content=text, headers={"content-type": "application/json"})
                ),
            ]
            health: list[float] = []
            neighbour: list[float] = []
            while not all(w.done() for w in work):
                for path, times in (("/healthz", health), (free, neighbour)):
                    start = time.perf_counter()
                    assert (await client.get(path)).status_code == 200
                    times.append(time.perf_counter() - start)
            assert [w.result().status_code for w in work] == [200, 201]
        await app.state.host.stop(5)
        return health, neighbour

    health, neighbour = asyncio.run(scenario())

    assert len(health) > 10
    assert statistics.median(health) < 0.1
    assert statistics.median(neighbour) < 0.2
    assert max(health + neighbour) < MODERATE_SECONDS
