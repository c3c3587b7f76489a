"""Large bodies between client, server and the session's process: bit for bit, and without more memory than they need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telegrad.contract import codec, safetensors
from telegrad.contract.errors import LimitError, SessionLostError
from telegrad.contract.limits import Limits
from telegrad_service.hosts import frames, shared, streams
from telegrad_service.hosts.base import Answer, Host, Work
from telegrad_service.hosts.inline import InlineHost
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.hosts.streams import StalledError, Stream

LINUX = sys.platform == "linux"
needs_linux = pytest.mark.skipif(not LINUX, reason="memory files are Linux's")
LARGE = 700_000
"""Float64 elements: more than a piece, more than what is sent and not shared."""


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of this size share memory with a session's process; else they would have to be six times as large."""
    monkeypatch.setattr(shared, "LARGE_BYTES", 2**22)


def run(scenario: Callable[[Host], Awaitable[Any]], host: Host) -> Any:
    """The scenario with the host started, which is stopped at the end."""

    async def whole() -> Any:
        await host.start()
        try:
            return await scenario(host)
        finally:
            await host.stop(10)

    return asyncio.run(whole())


def process_host(seconds: float = 60.0) -> ProcessHost:
    return ProcessHost(Limits(), max_waiting_requests=100, request_seconds=seconds)


def inline_host() -> InlineHost:
    return InlineHost(Limits(), compute_threads=2, max_waiting_requests=100)


async def opened(host: Host) -> str:
    answer = await host.open(Work("open"))
    assert answer.created is not None
    return answer.created


def filled(host: Host, array: np.ndarray) -> np.ndarray:
    made = host.allocate(array.shape, array.dtype)
    made[...] = array
    return made


async def put(host: Host, session: str, **arrays: np.ndarray) -> None:
    await host.do(session, Work("create_many", buffers={n: filled(host, a) for n, a in arrays.items()}))


async def get(host: Host, session: str, name: str) -> Answer:
    arguments = {"reference": name, "data": True, "encoding": "json"}
    return await host.do(session, Work("read", arguments=arguments, media_type=codec.BYTES_MEDIA_TYPE))


def batch_of(*commands: dict[str, Any]) -> Work:
    return Work("batch", body=json.dumps({"commands": commands}).encode(), media_type=codec.SAFETENSORS_MEDIA_TYPE)


ADD = {"command": "apply", "op": "add_", "inputs": ["x", 1.0]}
READ = {"command": "read", "tensor": "x", "encoding": "buffer"}


@pytest.mark.parametrize("make", [process_host, inline_host])
@pytest.mark.parametrize("size", [0, 1, 131_072, LARGE])
def test_arrays_of_any_size_go_there_and_back(make, size):
    array = np.random.default_rng(0).normal(size=size)

    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=array, y=array[::-1].copy(), z=np.arange(5))
        assert await (await get(host, session, "x")).whole() == array.tobytes()
        assert await (await get(host, session, "y")).whole() == array[::-1].tobytes()
        assert await (await get(host, session, "z")).whole() == np.arange(5).tobytes()

    run(scenario, make())


@pytest.mark.parametrize("make", [process_host, inline_host])
def test_a_read_shows_what_was_there_when_its_turn_came(make):
    """A write of the same batch, or of the next request, while the answer is still on its way."""
    array = np.zeros(LARGE)

    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=array)
        answers = [await host.do(session, batch_of(READ, ADD, READ)), await host.do(session, batch_of(READ))]
        later = asyncio.ensure_future(host.do(session, batch_of(ADD, READ)))
        await asyncio.sleep(0.05)
        found = [safetensors.unpack(await a.whole())[0] for a in (*answers, await later)]
        assert [[float(a.max()) for a in arrays.values()] for arrays in found] == [[0.0, 1.0], [1.0], [2.0]]
        assert [[float(a.min()) for a in arrays.values()] for arrays in found] == [[0.0, 1.0], [1.0], [2.0]]

    # One answer after the other is taken, so nothing waits for what is not taken yet.
    async def in_order(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=array)
        for expected in ([0.0, 1.0], [1.0, 2.0]):
            arrays, _ = safetensors.unpack(await (await host.do(session, batch_of(READ, ADD, READ))).whole())
            assert [float(a.max()) for a in arrays.values()] == expected

    run(scenario if make is inline_host else in_order, make())


@needs_linux
def test_a_large_upload_is_received_where_it_stays():
    """The session's process maps what the server received: writing there shows here, so nothing was copied."""
    array = np.zeros(LARGE)

    async def scenario(host: Host) -> None:
        session = await opened(host)
        mine = filled(host, array)
        assert shared.descriptor_of(mine) is not None
        await host.do(session, Work("create_many", buffers={"x": mine}))
        await host.do(session, batch_of(ADD))
        assert mine.min() == mine.max() == 1.0

    run(scenario, process_host())


@needs_linux
def test_more_large_arrays_than_can_be_handed_over_are_sent(monkeypatch):
    monkeypatch.setattr(shared, "MAX_DESCRIPTORS", 2)
    arrays = {f"a{i}": np.full(LARGE, float(i)) for i in range(4)}

    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, **arrays)
        for name, array in arrays.items():
            assert await (await get(host, session, name)).whole() == array.tobytes()

    run(scenario, process_host())


@needs_linux
def test_without_descriptors_to_spare_memory_is_plain(monkeypatch):
    def none_left(name: str) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    made = shared.allocate((LARGE,), np.dtype(np.float64))

    assert made.shape == (LARGE,)
    assert shared.descriptor_of(made) is None


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@needs_linux
def test_no_descriptor_is_left_behind():
    before = _open_files()

    async def scenario(host: Host) -> None:
        session = await opened(host)
        begun = _open_files()
        for i in range(3):
            await put(host, session, **{f"x{i}": np.zeros(LARGE)})
        assert _open_files() == begun

    run(scenario, process_host())
    assert _open_files() <= before + 1


@needs_linux
def test_only_a_whole_array_names_its_file():
    made = shared.allocate((1024, 1024), np.dtype(np.float64))

    assert shared.descriptor_of(made) is not None
    assert shared.descriptor_of(made.reshape(-1)) is not None
    assert shared.descriptor_of(made[:512]) is None
    assert shared.descriptor_of(made.T) is None
    assert shared.descriptor_of(np.zeros(LARGE)) is None
    assert shared.descriptor_of(shared.allocate((8,), np.dtype(np.float64))) is None


@needs_linux
def test_memory_that_cannot_be_mapped_is_a_limit():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        work = Work("create_many", buffers={"x": np.zeros(4)})
        first, *_ = frames.work_frame(work, ["x"])
        descriptor = os.memfd_create("short")  # a file without a page: nothing to map
        socket.send_fds(ours, [first], [descriptor])
        os.close(descriptor)
        with pytest.raises(LimitError, match="not enough memory"):
            frames.receive_work(frames.Incoming(theirs))


# Answers that are passed on while they arrive


async def made_stream(nbytes: int, stall_seconds: float = 20.0) -> tuple[Stream, list[str]]:
    told: list[str] = []
    stream = Stream(nbytes, lambda _: None, lambda: told.append("pause"), lambda: told.append("resume"), stall_seconds)
    stream.start(streams.HERE)
    return stream, told


def feed(stream: Stream, data: bytes) -> None:
    while data and not stream.done.is_set():
        room = stream.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        stream.arrived(count)
        data = data[count:]


def test_a_stream_gives_what_it_took(monkeypatch):
    monkeypatch.setattr(streams, "PIECE_BYTES", 100)

    async def scenario() -> None:
        data = os.urandom(350)
        stream, _ = await made_stream(len(data))
        feed(stream, data)
        assert stream.done.is_set()
        assert b"".join([bytes(p) async for p in stream]) == data

    asyncio.run(scenario())


def test_a_stream_lets_its_sender_wait_for_its_taker(monkeypatch):
    monkeypatch.setattr(streams, "PIECE_BYTES", 10)

    async def scenario() -> None:
        stream, told = await made_stream(1000)
        feed(stream, bytes(40))
        assert told == ["pause"]
        await anext(stream)
        assert told == ["pause", "resume"]
        stream.drop()

    asyncio.run(scenario())


def test_who_takes_nothing_of_a_stream_gets_no_more_and_the_sender_goes_on(monkeypatch):
    monkeypatch.setattr(streams, "PIECE_BYTES", 10)

    async def scenario() -> None:
        stream, told = await made_stream(100, stall_seconds=0.02)
        feed(stream, bytes(40))
        await asyncio.sleep(0.1)
        assert told == ["pause", "resume"]
        with pytest.raises(StalledError):
            await anext(stream)
        feed(stream, bytes(60))
        assert stream.done.is_set()

    asyncio.run(scenario())


def test_a_stream_whose_sender_is_gone_ends_in_an_error():
    async def scenario() -> None:
        stream, _ = await made_stream(100)
        feed(stream, bytes(40))
        stream.broken()
        assert stream.done.is_set()
        with pytest.raises(StalledError):
            await anext(stream)
        stream.drop()

    asyncio.run(scenario())


def test_an_answer_that_nobody_takes_does_not_hold_its_session_for_ever():
    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=np.zeros(20 * LARGE))
        left = await get(host, session, "x")
        assert (await host.do(session, Work("summary"))).status == 200
        with pytest.raises(StalledError):
            await left.whole()

    run(scenario, process_host(seconds=1.0))


def test_a_process_that_dies_in_the_middle_of_an_answer_cuts_it():
    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=np.zeros(20 * LARGE))
        answer = await get(host, session, "x")
        assert isinstance(host, ProcessHost)
        (worker,) = host._workers.values()
        os.kill(worker.pid, 9)
        with pytest.raises(StalledError):
            await answer.whole()
        with pytest.raises(SessionLostError):
            await host.do(session, Work("summary"))

    run(scenario, process_host())


# Memory of the whole service

MEMORY = """
import os, subprocess, sys, threading, time
import numpy as np
import telegrad
from tests.service.test_large_bodies import held_bytes, serving

megabytes = int(sys.argv[1])
with serving("--max-body-bytes", str(2**31), "--max-tensor-bytes", str(2**31)) as (url, pid):
    with telegrad.connect(url):
        telegrad.zeros(3).numpy()
        before = held_bytes(pid)
        most = [0]
        stop = threading.Event()

        def watch():
            while not stop.wait(0.01):
                most[0] = max(most[0], held_bytes(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        array = np.ones(megabytes * 2**17)
        x = telegrad.tensor(array)
        del array
        assert x.numpy()[-1] == 1.0
        stop.set()
        watcher.join()
print((most[0] - before) / (megabytes * 2**20))
"""


def held_bytes(pid: int) -> int:
    """Memory of a process and all below it, pages that several have counted once.

    They stand still meanwhile: a page that a second one maps between two looks would count one time and a half.
    """
    total = 0
    family = _family(pid)
    try:
        for one in family:
            _signal(one, signal.SIGSTOP)
        for one in family:
            try:
                lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            except (OSError, ProcessLookupError):
                continue
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    finally:
        for one in family:
            _signal(one, signal.SIGCONT)
    return total


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(c) for c in task.read_text().split()]
            except OSError:
                continue
    return found


class serving:  # noqa: N801 - reads as what it does
    """A server on a free port as a process of its own: its address and pid."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def __enter__(self) -> tuple[str, int]:
        command = [sys.executable, "-m", "telegrad_service", "serve", "--port", "0", *self._options]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "listens on" in line:
                return line.split()[-1], self._process.pid
        raise RuntimeError("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


@needs_linux
def test_a_tensor_up_and_down_takes_the_server_little_more_than_the_tensor():
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "160"], cwd=repository, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert 1.0 <= float(done.stdout) < 1.25


# Answers from the session's own memory


def test_an_answer_in_this_process_is_sent_from_the_sessions_memory_until_the_session_goes_on():
    async def scenario(host: Host) -> None:
        session = await opened(host)
        array = np.zeros(LARGE)
        await host.do(session, Work("create_many", buffers={"x": array}))
        answer = await get(host, session, "x")
        assert answer.pieces == ()
        first = await anext(aiter(answer.stream))
        array[...] = 5.0  # nobody may; it shows that there is one memory
        second = await anext(aiter(answer.stream))
        assert (np.frombuffer(first)[0], np.frombuffer(second)[0]) == (0.0, 5.0)

        assert (await host.do(session, Work("summary"))).status == 200, "who only looks changes nothing"
        await host.do(session, batch_of(ADD))
        rest = await answer.whole()
        assert len(first) + len(second) + len(rest) == array.nbytes
        assert set(np.frombuffer(rest)) == {5.0}, "as it was when it was read"
        assert set(array) == {6.0}

    run(scenario, inline_host())


def test_answers_that_are_taken_at_once_and_between_changes_show_what_was_there():
    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=np.zeros(LARGE))
        left = []
        for _ in range(4):
            left.append(await get(host, session, "x"))
            left.append(await get(host, session, "x"))
            await host.do(session, batch_of(ADD))
        found = [set(np.frombuffer(whole)) for whole in await asyncio.gather(*(answer.whole() for answer in left))]
        assert found == [{float(n)} for n in range(4) for _ in range(2)]

    run(scenario, inline_host())


def test_an_answer_that_nobody_takes_is_not_copied(monkeypatch):
    copies: list[int] = []

    async def scenario(host: Host) -> None:
        session = await opened(host)
        await put(host, session, x=np.zeros(LARGE))
        answer = await get(host, session, "x")
        answer.stream.drop()
        await host.do(session, batch_of(ADD))
        del answer
        await get(host, session, "x")  # and forgotten
        await host.do(session, batch_of(ADD))

    from telegrad_service.hosts import inline

    def noted(piece: memoryview) -> memoryview:
        copies.append(len(piece))
        return piece

    monkeypatch.setattr(inline, "copied", noted)
    run(scenario, inline_host())
    assert copies == []
