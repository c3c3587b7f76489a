"""What the event loop does itself, what it leaves to a thread, and that nobody can tell the difference but by the clock."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from telegrad.contract.command_fields import decode_command
from telegrad.contract.errors import NotFoundError, ShapeError
from telegrad.contract.limits import Limits
from telegrad_service.compiler.history import History
from telegrad_service.engine.graph import DeferredNode
from telegrad_service.hosts import verbs
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.inline import InlineHost
from telegrad_service.session import haste, session

Command = dict[str, Any]
Arrays = dict[str, np.ndarray[Any, Any]]


def create(name: str, data: Any, **fields: Any) -> Command:
    return {"command": "create", "id": name, "data": data, **fields}


def op(name: str, *inputs: Any, to: str | None = None, **parameters: Any) -> Command:
    outputs = {} if to is None else {"outputs": [to]}
    return {"command": "apply", "op": name, "inputs": list(inputs), "parameters": parameters, **outputs}


def read(name: str) -> Command:
    return {"command": "read", "tensor": name}


class Place:
    """A session in a host that notes in which threads its commands were done."""

    def __init__(self, host: InlineHost, name: str, threads: list[str]) -> None:
        self._host = host
        self._name = name
        self._threads = threads

    async def do(self, verb: str, arrays: Arrays | None = None, **body: Any) -> Any:
        """What a request answers, and the kind of each thread that had a part in it."""
        self._threads.clear()
        work = Work(verb, json.dumps(body).encode(), arguments=body.pop("arguments", {}), buffers=arrays or {})
        answer = await self._host.do(self._name, work)
        return json.loads(await answer.whole() or b"null")

    async def delete(self) -> None:
        await self._host.close(self._name)

    async def batch(self, *commands: Command, arrays: Arrays | None = None) -> tuple[Any, str]:
        """A batch's answer, and where its commands were done: ``l`` for the loop, ``t`` for a thread."""
        found = await self.do("batch", arrays, commands=list(commands))
        return found, "".join(self._threads)


def run(scenario: Callable[[Place], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    async def whole() -> Any:
        host = InlineHost(Limits(), compute_threads=2, max_waiting_requests=100)
        await host.start()
        threads: list[str] = []
        loop = threading.get_ident()
        done = session.Session.do

        def noted(self: Any, command: Any, context: Any) -> Any:
            result = done(self, command, context)
            threads.append("l" if threading.get_ident() == loop else "t")
            return result

        with monkeypatch.context() as patched:
            patched.setattr(session.Session, "do", noted)
            for name in ("_SECONDS", "_RUN_SECONDS"):
                patched.setattr(haste, name, 60.0)  # a busy machine is slow; what is judged here is the rest
            opened = await host.open(Work("open"))
            assert opened.created is not None
            try:
                return await scenario(Place(host, opened.created, threads))
            finally:
                await host.stop(10)

    return asyncio.run(whole())


GRADIENT = [op("mul", "x", "x", to="s"), op("sum", "s", to="y"), {"command": "backward", "tensors": ["y"]}, read("x.grad")]


def test_a_small_batch_is_done_by_the_event_loop(monkeypatch):
    async def scenario(place: Place) -> None:
        found, where = await place.batch(create("x", [1.0, 2.0], requires_grad=True), *GRADIENT)
        assert found["results"][-1]["data"] == [2.0, 4.0]
        assert where == "lllll"

    run(scenario, monkeypatch)


def test_nothing_stays_of_a_batch_whose_session_goes_before_a_thread_goes_on_with_it(monkeypatch):
    async def scenario(place: Place) -> None:
        doing = asyncio.ensure_future(place.batch(create("only-here", 1.0), op("zeros", to="z", size=[1_000_000])))
        await asyncio.sleep(0)  # the event loop has done what it does of it
        await place.delete()
        await asyncio.wait([doing])
        assert isinstance(doing.exception(), NotFoundError)
        del doing
        gc.collect()
        assert [o for o in gc.get_objects() if type(o) is Work and b"only-here" in o.body] == []

    run(scenario, monkeypatch)


@pytest.mark.parametrize(
    "long",
    [
        op("zeros", to="z", size=[1_000_000]),
        op("matmul", "m", "m", to="z"),
        op("nonzero", "m", to="z"),
    ],
    ids=["much memory", "much arithmetic", "nobody knows"],
)
def test_a_batch_goes_on_in_a_thread_from_where_it_becomes_long(monkeypatch, long):
    async def scenario(place: Place) -> None:
        await place.batch(op("ones", to="m", size=[200, 200]))
        found, where = await place.batch(
            create("a", 1.0), op("add", "a", 1, to="b"), read("b"), long, op("add", "b", 1, to="c"), read("c")
        )
        assert where == "lllttt"
        assert found["applied"] == 6
        assert [r["data"] for r in found["results"] if "data" in r] == [2.0, 3.0]

    run(scenario, monkeypatch)


def test_an_error_is_the_same_wherever_it_is_met(monkeypatch):
    async def scenario(place: Place) -> None:
        bad = op("add", "a", "b", to="c")
        for extra, expected in (([], "ll"), ([op("zeros", to="z", size=[1_000_000])], "llt")):
            found, where = await place.batch(create("a", [1.0, 2.0]), create("b", [1.0, 2.0, 3.0]), *extra, bad, read("a"))
            assert where == expected
            assert found["failed"] == len(expected)
            assert found["type"].endswith("shape")
            await place.batch({"command": "release", "tensors": ["a", "b", *["z" for _ in extra]]})
        await place.batch(create("a", [1.0, 2.0]), create("b", [1.0, 2.0, 3.0]))
        with pytest.raises(ShapeError):
            await place.do("apply", **{k: v for k, v in bad.items() if k != "command"})

    run(scenario, monkeypatch)


def test_a_walk_over_many_nodes_or_large_values_is_a_thread_s(monkeypatch):
    async def scenario(place: Place) -> None:
        await place.batch(create("x", [1.0, 2.0], requires_grad=True), op("mul", "x", 1.0, to="y0"))
        for i in range(100):
            await place.batch(op("mul", f"y{i}", 1.0, to=f"y{i + 1}"))
        _, where = await place.batch(op("sum", "y100", to="s"), {"command": "backward", "tensors": ["s"]})
        assert where == "lt"
        _, where = await place.batch({"command": "release", "tensors": ["y100", "s"]})
        assert where == "t"
        await place.batch(op("ones", to="w", size=[100_000]), {"command": "set", "tensor": "w", "requires_grad": True})
        _, where = await place.batch(op("sum", "w", to="t"), {"command": "backward", "tensors": ["t"]}, read("x"))
        assert where == "ltt"

    run(scenario, monkeypatch)


def test_a_long_read_is_a_thread_s(monkeypatch):
    async def scenario(place: Place) -> None:
        await place.batch(op("ones", to="w", size=[100_000]))
        _, where = await place.batch({"command": "read", "tensor": "w", "what": "description"}, read("w"))
        assert where == "tt"

    run(scenario, monkeypatch)


def test_a_program_is_for_the_loop_when_it_was_short_before(monkeypatch):
    async def scenario(place: Place) -> None:
        await place.batch(create("x", [1.0, 2.0], requires_grad=True), create("big", [1.0] * 500, requires_grad=True))
        stored = await place.do("store_program", inputs=["x"], commands=[*GRADIENT[:2], read("y")])
        once: Command = {"command": "run", "program": stored["id"], "inputs": {"x": "x"}}
        places = ["".join(set((await place.batch(once))[1])) for _ in range(5)]
        assert places == ["t", "t", "t", "l", "l"]
        assert set((await place.batch({**once, "inputs": {"x": "big"}}))[1]) == {"t"}
        assert set((await place.batch({**once, "times": 2}))[1]) == {"t"}
        await place.batch(op("mul", "x", 1.0, to="made"))
        assert set((await place.batch({**once, "inputs": {"x": "made"}}))[1]) == {"t"}

    run(scenario, monkeypatch)


def test_a_program_that_changes_what_it_is_given_is_known_again(monkeypatch):
    async def scenario(place: Place) -> None:
        follow: Command = {"command": "set", "tensor": "x", "requires_grad": True}
        stored = await place.do("store_program", inputs=["x"], commands=[follow, *GRADIENT])
        places: list[str] = []
        for i in range(5):
            once: Command = {"command": "run", "program": stored["id"], "inputs": {"x": f"x{i}"}}
            places.append((await place.batch(create(f"x{i}", [1.0, 2.0]), once))[1][-1])
        assert places == ["t", "t", "t", "l", "l"]

    run(scenario, monkeypatch)


def test_a_program_that_took_long_stays_a_thread_s(monkeypatch):
    async def scenario(place: Place) -> None:
        await place.batch(create("x", [1.0, 2.0], requires_grad=True))
        stored = await place.do("store_program", inputs=["x"], commands=GRADIENT[:2])
        once: Command = {"command": "run", "program": stored["id"], "inputs": {"x": "x"}}
        for _ in range(3):
            await place.batch(once)
        assert set((await place.batch(once))[1]) == {"l"}
        monkeypatch.setattr(haste, "_RUN_SECONDS", 1e-9)
        assert set((await place.batch(once))[1]) == {"t"}

    run(scenario, monkeypatch)


def test_one_run_that_was_interrupted_does_not_count():
    times = haste.RunTimes()
    for seconds in (0.01, 0.02, 0.001, 0.5):
        times.took(("step",), seconds)
    assert times.expected(("step",)) == 0.001
    times.took(("step",), 0.4)
    assert times.expected(("step",)) == 0.4


def test_time_that_is_up_is_noticed_between_commands(monkeypatch):
    async def scenario(place: Place) -> None:
        monkeypatch.setattr(haste, "_SECONDS", -1.0)
        found, where = await place.batch(create("x", 1.0), read("x"))
        assert where == "tt"
        assert found["applied"] == 2
        _, where = await place.batch(read("x"), {"command": "release", "tensors": ["x"]}, create("x", 1.0))
        assert where == "llt"  # what is over at once does not wait for a thread

    run(scenario, monkeypatch)


def test_long_requests_and_requests_with_large_arrays_do_not_begin_on_the_loop(monkeypatch):
    async def scenario(place: Place) -> None:
        _, where = await place.batch(create("x", list(range(5000))))
        assert where == "t"
        made: Command = {"command": "create", "buffer": "b"}
        assert (await place.batch({**made, "id": "y"}, arrays={"b": np.ones(8)}))[1] == "l"
        assert (await place.batch({**made, "id": "z"}, arrays={"b": np.ones(100_000)}))[1] == "t"

    run(scenario, monkeypatch)


def test_short_and_long_requests_of_one_session_keep_their_order(monkeypatch):
    async def scenario(place: Place) -> None:
        await place.batch(create("n", 0.0))
        add = {"command": "apply", "op": "add_", "inputs": ["n", 1.0]}
        longer = [op("zeros", to="z", size=[1_000_000]), {"command": "release", "tensors": ["z"]}]

        async def step(number: int) -> float:
            found, _ = await place.batch(add, *(longer if number % 3 == 0 else []), read("n"))
            return found["results"][-1]["data"]

        assert await asyncio.gather(*[step(i) for i in range(30)]) == [float(i) for i in range(1, 31)]

    run(scenario, monkeypatch)


def test_a_short_request_makes_no_task(monkeypatch):
    async def scenario(place: Place) -> None:
        await place.batch(create("x", 1.0))
        before = asyncio.all_tasks()
        made: list[Any] = []

        def noting(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
            made.append(work)
            return asyncio.Task(work, loop=loop, **options)

        asyncio.get_running_loop().set_task_factory(noting)
        await place.batch(read("x"))
        asyncio.get_running_loop().set_task_factory(None)
        assert made == []
        assert asyncio.all_tasks() == before

    run(scenario, monkeypatch)


def test_each_verb_that_may_be_short_is_a_verb():
    assert set(verbs.VERBS) > verbs.SHORT_VERBS


def test_a_graph_that_nobody_asked_for_is_not_made_to_be_freed(monkeypatch):
    async def scenario(place: Place) -> None:
        filled: list[Any] = []
        history = History.build

        def build(self: History, *given: Any) -> Any:
            made = history(self, *given)
            filled.extend(made.values())
            return made

        monkeypatch.setattr(History, "build", build)
        await place.batch(create("x", [1.0, 2.0], requires_grad=True))
        stored = await place.do("store_program", inputs=["x"], commands=GRADIENT[:3])
        for i in range(6):
            await place.batch({"command": "run", "program": stored["id"], "inputs": {"x": "x"}, "outputs": {"y": f"y{i}"}})
        assert filled
        _, where = await place.batch({"command": "release", "tensors": [f"y{i}" for i in range(6)]})
        assert where == "l"
        assert {type(node) for node in filled} == {DeferredNode}

    run(scenario, monkeypatch)


def test_a_short_walk_looks_at_no_more_than_it_needs():
    home = session.Session("s").engine
    leaf = home.wrap(np.ones(3))
    leaf.requires_grad = True
    assert haste.is_short_walk([None, leaf])
    made = leaf
    for _ in range(10_000):
        made = made * 1.0
    assert not haste.is_short_walk([made])
    assert haste.is_short_walk([made.detach()])


def test_to_ask_whether_a_walk_is_short_makes_no_long_graph():
    opened = session.Session("s")
    x = opened.names["x"] = opened.engine.wrap(np.ones(3))
    x.requires_grad = True
    chain = [op("tanh", "x", to="y0"), *[op("tanh", f"y{i}", to=f"y{i + 1}") for i in range(100)]]
    program = opened.store_program([decode_command(c) for c in chain], ["x"])
    for n in range(4):
        opened.apply(decode_command({"command": "run", "program": program.id, "inputs": {"x": "x"}, "outputs": {"y100": f"z{n}"}}))
    assert type(opened.names["z3"].node) is DeferredNode
    assert not haste.is_short_walk([opened.names["z3"]])
    assert type(opened.names["z3"].node) is DeferredNode
    opened.apply(decode_command({"command": "apply", "op": "sum", "inputs": ["z3"], "outputs": ["s"]}))
    opened.apply(decode_command({"command": "backward", "tensors": ["s"]}))
    assert x.grad is not None
