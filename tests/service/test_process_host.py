"""A process for each session: neighbours notice nothing, what is overdue is ended, nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from telegrad.contract import codec
from telegrad.contract.errors import (
    DeadlineError,
    InternalError,
    LimitError,
    NotFoundError,
    RunCancelledError,
    SessionLostError,
    ShapeError,
    TelegradError,
    UnavailableError,
)
from telegrad.contract.limits import Limits
from telegrad_service.hosts import frames, shared, warm, worker
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.durable import DurableSession, Keeping
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.journal.base import Kept
from telegrad_service.session.watch import News, Watch
from tests.waiting import until

LINUX = Path("/proc/self/status").exists()
needs_proc = pytest.mark.skipif(not LINUX, reason="looks at processes under /proc")


def make_host(limits: Limits | None = None, *, seconds: float = 60.0, waiting: int = 100, fork: bool = True) -> ProcessHost:
    return ProcessHost(limits or Limits(), max_waiting_requests=waiting, request_seconds=seconds, fork=fork)


def run(scenario: Callable[[ProcessHost], Awaitable[Any]], host: ProcessHost | None = None) -> Any:
    """The scenario with a started host, which is stopped at the end."""

    async def whole() -> Any:
        used = host or make_host()
        await used.start()
        try:
            return await scenario(used)
        finally:
            await used.stop(10)

    return asyncio.run(whole())


async def opened(host: ProcessHost) -> str:
    answer = await host.open(Work("open", body=b'{"seed": 0}'))
    assert answer.created is not None
    return answer.created


async def batch(host: ProcessHost, session: str, *commands: dict[str, Any]) -> dict[str, Any]:
    answer = await host.do(session, Work("batch", body=json.dumps({"commands": commands}).encode()))
    value: dict[str, Any] = json.loads(await answer.whole())
    return value


def create(name: str, data: Any, **fields: Any) -> dict[str, Any]:
    return {"command": "create", "id": name, "data": data, **fields}


def op(name: str, *inputs: Any, to: str, **parameters: Any) -> dict[str, Any]:
    return {"command": "apply", "op": name, "inputs": list(inputs), "parameters": parameters, "outputs": [to]}


def read(name: str) -> dict[str, Any]:
    return {"command": "read", "tensor": name}


def pid_of(host: ProcessHost, session: str) -> int:
    return next(w.pid for w in host._workers.values() if w.session_id == session)


def of_process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def ended(pid: int) -> None:
    await until(lambda: not is_alive(pid))


def cpu_seconds(pid: int) -> float:
    """What a process has computed; one that was forked begins at 0."""
    fields = of_process(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


LONG = [op("matmul", "big", "big", to=f"product{i}") for i in range(100)]


async def begin_long(host: ProcessHost, session: str) -> asyncio.Future[Any]:
    """A computation of many seconds that has begun."""
    await batch(host, session, op("ones", to="big", size=[1500, 1500], dtype="float64"))
    computing = asyncio.ensure_future(batch(host, session, *LONG))
    await asyncio.sleep(0.1)
    assert not computing.done()
    return computing


@pytest.mark.parametrize("fork", [True, False], ids=["forked", "spawned"])
def test_sessions_compute_in_processes_of_their_own_and_share_no_names(fork):
    async def scenario(host: ProcessHost) -> None:
        first, second = await opened(host), await opened(host)
        assert len({os.getpid(), pid_of(host, first), pid_of(host, second)}) == 3

        await batch(host, first, create("x", [1.0, 2.0], requires_grad=True), op("sin", "x", to="y"))
        await batch(host, first, op("sum", "y", to="s"), {"command": "backward", "tensors": ["s"]})
        found = await batch(host, first, read("x.grad"))

        assert found["results"][0]["data"] == pytest.approx(np.cos([1.0, 2.0]))
        assert (await batch(host, second, read("x")))["type"].endswith("not-found")

    run(scenario, make_host(fork=fork))


def test_errors_arrive_with_class_message_and_members():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        await batch(host, session, create("a", [1.0, 2.0]), create("b", [1.0, 2.0, 3.0]))

        with pytest.raises(ShapeError, match="size of tensor"):
            await host.do(session, Work("apply", body=b'{"op": "add", "inputs": ["a", "b"]}'))
        with pytest.raises(LimitError) as refused:
            await host.do(session, Work("apply", body=b'{"op": "ones", "parameters": {"size": [100000, 100000]}, "inputs": []}'))
        assert refused.value.extra["limit"] == "max_tensor_bytes"

    run(scenario)


def test_arrays_go_there_and_back_bit_for_bit():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        given = np.random.default_rng(0).normal(size=(700, 1000))
        await host.do(session, Work("create", arguments={"id": "x"}, buffers={"array": given}))

        arguments = {"reference": "x", "data": True, "encoding": "json"}
        answer = await host.do(session, Work("read", arguments=arguments, media_type=codec.BYTES_MEDIA_TYPE))

        assert await answer.whole() == given.tobytes()

    run(scenario)


def test_requests_of_one_session_are_done_in_the_order_of_arrival():
    async def scenario(host: ProcessHost) -> list[float]:
        session = await opened(host)
        await batch(host, session, create("x", 0.0))
        step = {"command": "apply", "op": "add_", "inputs": ["x", 1.0]}
        found = await asyncio.gather(*[batch(host, session, step, read("x")) for _ in range(30)])
        return [f["results"][-1]["data"] for f in found]

    assert run(scenario) == [float(n) for n in range(1, 31)]


def test_a_session_does_not_wait_for_a_neighbour():
    async def scenario(host: ProcessHost) -> None:
        busy, free = await opened(host), await opened(host)
        computing = await begin_long(host, busy)
        await batch(host, free, create("x", 1.0))
        assert not computing.done()
        computing.cancel()
        await host.close(busy)

    run(scenario, make_host(seconds=3))


@needs_proc
def test_a_process_that_dies_costs_its_neighbours_nothing_and_is_plainly_reported(caplog):
    async def scenario(host: ProcessHost) -> None:
        dying, living = await opened(host), await opened(host)
        await batch(host, living, create("x", [0.1, 0.2], requires_grad=True), op("exp", "x", to="y"))
        before = await batch(host, living, read("y"))
        computing = await begin_long(host, dying)
        waiting = asyncio.ensure_future(batch(host, dying, read("big")))
        await asyncio.sleep(0)

        os.kill(pid_of(host, dying), signal.SIGKILL)

        with pytest.raises(SessionLostError, match="ended unexpectedly"):
            await computing
        with pytest.raises(SessionLostError, match="Open a new one"):
            await waiting
        with pytest.raises(SessionLostError, match="Open a new one"):
            await host.do(dying, Work("summary"))
        assert await batch(host, living, read("y")) == before
        assert [r.id for r in host.list("", 0, 10)[0]] == [living]

    run(scenario)
    assert "ended with status -9" in caplog.text


@needs_proc
def test_a_request_that_ends_its_process_again_and_again_is_told_not_to_come_again(tmp_path):
    keeping = Keeping(f"sqlite://{tmp_path}")
    host = ProcessHost(Limits(), max_waiting_requests=10, request_seconds=60.0, keeping=keeping)

    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        await batch(host, session, op("ones", to="big", size=[1500, 1500], dtype="float64"))
        fatal = Work("batch", body=json.dumps({"commands": LONG}).encode(), client="c" * 16, number=1)

        killed: list[int] = []

        def at_it() -> list[int]:
            """The session's process, if it computes the products: to be there takes it hardly any time."""
            there = [w.pid for w in host._workers.values() if w.session_id == session and w.pid not in killed]
            return [pid for pid in there if cpu_seconds(pid) > 0.2]

        async def sent() -> TelegradError:
            asked = asyncio.ensure_future(host.do(session, fatal))
            await until(at_it)
            killed.extend(at_it())
            os.kill(killed[-1], signal.SIGKILL)
            with pytest.raises(TelegradError) as caught:
                await asked
            return caught.value

        found = [await sent() for _ in range(5)]
        assert [type(error) for error in found] == [UnavailableError] * 4 + [LimitError]
        assert found[0].extra["retry_after_seconds"] == 0
        assert "5 times in a row" in str(found[-1])
        after = Work(
            "batch", body=json.dumps({"commands": [{**read("big"), "what": "description"}]}).encode(), client="c" * 16, number=1
        )
        assert (await host.do(session, after)).status == 200  # the number is free

    run(scenario, host)


@needs_proc
def test_a_process_that_dies_while_nobody_asks_is_noticed():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        pid = pid_of(host, session)
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
        await until(lambda: not host.list("", 0, 10)[0])

        with pytest.raises(SessionLostError):
            host.require(session, "")

    run(scenario)


@needs_proc
def test_a_request_that_takes_too_long_is_ended_with_its_session():
    async def scenario(host: ProcessHost) -> None:
        slow, other = await opened(host), await opened(host)
        pid = pid_of(host, slow)
        await batch(host, slow, op("ones", to="big", size=[1500, 1500], dtype="float64"))

        begun = time.perf_counter()
        with pytest.raises(DeadlineError, match="longer than 1 seconds"):
            await batch(host, slow, *LONG)

        assert time.perf_counter() - begun < 10
        await ended(pid)
        with pytest.raises(SessionLostError, match="took too long"):
            await host.do(slow, Work("summary"))
        await batch(host, other, create("x", 1.0))

    run(scenario, make_host(seconds=1.0))


@needs_proc
def test_deleting_a_session_ends_its_process():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        pid = pid_of(host, session)

        await host.close(session)

        await ended(pid)
        with pytest.raises(NotFoundError):
            host.require(session, "")

    run(scenario)


@needs_proc
def test_stopping_ends_every_process_the_helper_included_even_one_that_computes():
    pids: list[int] = []

    async def scenario(host: ProcessHost) -> None:
        sessions = [await opened(host) for _ in range(3)]
        computing = await begin_long(host, sessions[0])
        pids.extend(w.pid for w in host._workers.values())
        pids.append(host._nursery._helper.pid)
        assert await host.stop(0.1) == 1
        with pytest.raises(SessionLostError):
            await computing
        for pid in pids:
            await ended(pid)

    run(scenario)
    assert len(pids) == 4


@needs_proc
def test_a_terminal_signals_no_session_and_the_system_shares_out_processors_to_all_of_the_server_as_one():
    async def scenario(host: ProcessHost) -> None:
        await opened(host)
        helper, (worker_pid,) = host._nursery._helper.pid, host._workers
        for pid in (helper, worker_pid):
            assert os.getpgid(pid) == helper != os.getpgid(0)
            assert os.getsid(pid) == os.getsid(0)

    run(scenario)


@needs_proc
def test_a_helper_that_dies_is_replaced():
    async def scenario(host: ProcessHost) -> None:
        lost = await opened(host)
        helper = host._nursery._helper
        helper.kill()
        await asyncio.to_thread(helper.wait)
        with pytest.raises((SessionLostError, UnavailableError)):
            await batch(host, lost, create("x", 1.0))

        session = await opened(host)
        await batch(host, session, create("x", 1.0))

        assert host._nursery._helper.pid != helper.pid

    run(scenario)


@needs_proc
def test_hundreds_of_sessions_that_wake_at_once_all_get_a_process():
    """More than the connection to the helper holds, which is busy with something else when they come."""

    async def scenario(host: ProcessHost) -> int:
        nursery = cast("Any", host._nursery)
        os.kill(nursery._helper.pid, signal.SIGSTOP)
        made = [asyncio.ensure_future(nursery.make(Kept(f"s{i}", 0.0))) for i in range(400)]
        await asyncio.sleep(0)
        os.kill(nursery._helper.pid, signal.SIGCONT)
        workers = await asyncio.gather(*made, return_exceptions=True)
        ends = [found[1] for found in workers if isinstance(found, tuple)]
        for end in ends:
            end.close()
        return len(ends)

    assert run(scenario) == 400


@needs_proc
def test_a_process_is_ended_though_the_helper_has_no_time_to_hear_of_it_yet():
    async def scenario(host: ProcessHost) -> None:
        nursery = cast("Any", host._nursery)
        pid, end = await nursery.make(Kept("s", 0.0))
        os.kill(nursery._helper.pid, signal.SIGSTOP)
        with end:
            for _ in range(2000):  # more than the connection holds
                nursery.kill(0)
            nursery.kill(pid)
            os.kill(nursery._helper.pid, signal.SIGCONT)
            await ended(pid)

    run(scenario)


@needs_proc
def test_a_server_without_descriptors_left_says_so_and_keeps_its_helper():
    resource = pytest.importorskip("resource")

    def in_use() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use(), before[1]))
        try:
            with pytest.raises(UnavailableError, match="no process could be made"):
                await opened(host)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert (await batch(host, session, create("x", 1.0)))["applied"] == 1
        await opened(host)

    run(scenario)


@needs_proc
def test_workers_have_one_thread_and_a_bound_on_their_memory():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        await batch(host, session, op("ones", to="a", size=[300, 300]), op("matmul", "a", "a", to="b"))
        pid = pid_of(host, session)
        status = of_process(pid, "status")
        assert "\nThreads:\t1\n" in status
        bound = next(line for line in of_process(pid, "limits").splitlines() if "address space" in line)
        assert 2**31 < int(bound.split()[3]) < 2**34

    run(scenario)


@needs_proc
def test_a_session_is_a_few_megabytes():
    async def scenario(host: ProcessHost) -> list[int]:
        sessions = [await opened(host) for _ in range(8)]
        own = []
        for session in sessions:
            rollup = of_process(pid_of(host, session), "smaps_rollup")
            own.append(sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")))
        return own

    assert max(run(scenario)) < 16 * 1024  # kilobytes that it shares with nobody; 400 sessions fit in 4 GB with room for data


def test_a_request_larger_than_the_memory_left_is_refused_and_the_session_lives_on():
    limits = Limits(max_session_bytes=2**20)

    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        await batch(host, session, create("x", [1.0, 2.0]))
        with pytest.raises(LimitError):  # what the front lets through here is larger than what the process may hold
            await host.do(session, Work("create", arguments={"id": "y"}, buffers={"array": np.zeros(110_000_000)}))
        assert (await batch(host, session, read("x")))["results"][0]["data"] == [1.0, 2.0]

    run(scenario, make_host(limits))


def test_a_fault_of_ours_is_logged_with_its_traceback_and_shown_without(caplog):
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        with pytest.raises(InternalError) as shown:
            await host.do(session, Work("no such verb", request_id="r17"))
        assert "no such verb" not in str(shown.value)
        await batch(host, session, create("x", 1.0))  # the session lives on

    run(scenario)
    assert "r17" in caplog.text
    assert "KeyError" in caplog.text


def test_what_waits_is_bounded():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        computing = await begin_long(host, session)
        waiting = [asyncio.ensure_future(host.do(session, Work("summary"))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="max_waiting_requests"):
            await host.do(session, Work("summary"))
        await host.stop(0.1)
        await asyncio.gather(computing, *waiting, return_exceptions=True)

    run(scenario, make_host(waiting=2))


def test_a_system_that_gives_no_more_processes_is_an_answer_and_the_helper_lives(monkeypatch):
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reply = warm.fork(ours, theirs, {"fork": 3, "id": "s", "created": 0.0}, Limits())

    assert reply == {"failed": 3, "reason": "Resource temporarily unavailable"}


@pytest.mark.parametrize("size", [0, 1, frames._JOIN_BYTES, frames._JOIN_BYTES + 1, 5_000_000])
def test_frames_of_any_size_arrive_whole(size):
    body = os.urandom(size)
    array = np.frombuffer(os.urandom(8 * 100), np.int64).reshape(4, 25)
    sent = Work("batch", body, {"a": [1, None, "ä"]}, {"b": array, "empty": np.zeros((0, 3))}, "x/y", "r1")
    ours, theirs = socket.socketpair()
    with ours, theirs:

        async def both() -> Work | None:
            sending = asyncio.to_thread(frames.send, ours, frames.work_frame(sent))
            receiving = asyncio.to_thread(frames.receive_work, frames.Incoming(theirs))
            return (await asyncio.gather(sending, receiving))[1]

        got = asyncio.run(both())

    assert got is not None
    assert (got.verb, got.body, got.arguments, got.media_type, got.request_id) == ("batch", body, sent.arguments, "x/y", "r1")
    np.testing.assert_array_equal(got.buffers["b"], array)
    assert got.buffers["empty"].shape == (0, 3)


COUNT = {"inputs": ["n"], "commands": [{"command": "apply", "op": "add_", "inputs": ["n", 1]}]}


async def counting(host: ProcessHost, session: str, **fields: Any) -> Work:
    """A request for runs of a program that counts."""
    await batch(host, session, create("n", 0))
    answer = await host.do(session, Work("store_program", body=json.dumps(COUNT).encode()))
    return Work("run", body=json.dumps({"inputs": {"n": "n"}, **fields}).encode(), arguments={"program": answer.created})


def test_each_run_of_a_program_has_the_time_of_a_request():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        work = await counting(host, session, times=1_000_000, seconds=1.6)
        with pytest.raises(DeadlineError, match=r"1\.6 s \(seconds\) are over"):
            await host.do(session, work)
        told = await batch(host, session, read("n"))
        assert told["results"][0]["data"] > 0

    run(scenario, make_host(seconds=1.0))


def test_a_run_that_was_stopped_while_it_waited_does_not_begin():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        long = await counting(host, session, times=1_000_000)
        short = Work("run", body=b'{"inputs": {"n": "n"}}', arguments=long.arguments)
        watches = [Watch(f"w{i}") for i in range(80)]
        running = [asyncio.ensure_future(host.do(session, short if i else long, watch)) for i, watch in enumerate(watches)]
        await asyncio.sleep(0.1)
        for watch in reversed(watches):
            watch.stop("asked")
        ends = await asyncio.gather(*running, return_exceptions=True)
        assert [type(end) for end in ends] == [RunCancelledError] * len(ends)
        told = await batch(host, session, read("n"))
        assert told["results"][0]["data"] == cast(RunCancelledError, ends[0]).extra["run"]

    run(scenario)


def test_runs_are_followed_and_stopped_in_another_process():
    async def scenario(host: ProcessHost) -> None:
        session = await opened(host)
        began = asyncio.Event()

        def tell(news: News) -> None:
            if news["run"]:
                began.set()

        watch = Watch("w", tell)
        running = asyncio.ensure_future(host.do(session, await counting(host, session, times=1_000_000), watch))
        await began.wait()
        assert host.watches(session) == {"w": watch}
        watch.stop("enough")
        with pytest.raises(RunCancelledError, match="enough: stopped after") as caught:
            await running
        watch.stop("too late to be heard")
        assert (await batch(host, session, read("n")))["results"][0]["data"] == caught.value.extra["run"]
        assert not host.watches(session)

    run(scenario)


def test_a_wish_to_stop_that_comes_when_all_is_done_is_for_nobody():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames.send(ours, [*frames.stop_frame("late"), *frames.work_frame(Work("summary"))])
        incoming = frames.Incoming(theirs)
        assert frames.receive_work(incoming) == Work("summary")
        assert frames.receive_stop(incoming) is None


def test_a_wish_to_stop_that_came_together_with_the_request_is_heard():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pieces = [*frames.work_frame(Work("summary", b"12")), *frames.stop_frame("enough"), *frames.work_frame(Work("seed"))]
        ours.sendall(b"".join(pieces))
        incoming = frames.Incoming(theirs)
        assert frames.receive_work(incoming) == Work("summary", b"12")
        assert frames.receive_stop(incoming) == "enough"
        assert frames.receive_work(incoming) == Work("seed")
        assert frames.receive_stop(incoming) is None


@pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="descriptors go over sockets on Unix only")
def test_descriptors_of_a_request_that_came_together_with_something_before_it_are_its_own():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        array = shared.allocate((shared.LARGE_BYTES // 8,), np.dtype(np.float64))
        array[:] = 3.0
        descriptor = shared.descriptor_of(array)
        if descriptor is None:
            pytest.skip("arrays do not go as descriptors here")
        ours.sendall(b"".join(frames.stop_frame("too late")))
        work = Work("batch", b"{}", buffers={"b": array})
        socket.send_fds(ours, [b"".join(frames.work_frame(work, ["b"]))], [descriptor])
        found = frames.receive_work(frames.Incoming(theirs))
        assert found is not None
        assert found.buffers["b"].tobytes() == array.tobytes()


def test_a_process_that_ends_before_anybody_knows_of_it_is_not_waited_for(monkeypatch):
    async def scenario(host: ProcessHost) -> None:
        real = host._nursery.make

        async def make(*given: Any) -> Any:
            pid, end = await real(*given)
            os.kill(pid, signal.SIGKILL)
            await host._wait_for(lambda: not host._nursery.is_alive(pid), 10)
            return pid, end

        with monkeypatch.context() as patch:
            patch.setattr(host._nursery, "make", make)
            with pytest.raises((SessionLostError, UnavailableError)):
                await opened(host)
        assert host.census().workers == 0
        await opened(host)
        assert host.census().workers == 1

    run(scenario)


@pytest.mark.parametrize("times", [{}, {"times": 500}])
def test_a_run_whose_server_is_gone_is_done_whole_when_the_session_is_back(tmp_path, monkeypatch, times):
    monkeypatch.setattr(worker, "bound_memory", lambda _: None)
    home = worker.Home(Kept("id", 1.5), Limits(), Keeping(f"sqlite:///{tmp_path}"))
    add = {"command": "apply", "op": "add_", "inputs": ["n", 1], "grad_enabled": False}
    session = DurableSession(home.kept, home.limits, home.keeping)
    session.do(Work("create", b'{"id": "n", "data": 0}'))
    stored = session.do(Work("store_program", json.dumps({"commands": [add], "inputs": ["n"]}).encode()))
    session.stop()
    body = json.dumps({"inputs": {"n": "n"}, **times}).encode()
    run = Work("run", body, {"program": stored.created}, client="client-of-this-test", number=1, turn="t")

    ours, theirs = socket.socketpair()
    with ours:
        frames.send(ours, frames.work_frame(run))
    worker.run(theirs, home)

    session = DurableSession(home.kept, home.limits, home.keeping)
    assert session.session.names["n"].array.item() == times.get("times", 1)
    assert session.do(run).status == 200
    assert session.session.names["n"].array.item() == times.get("times", 1)
    session.close()
