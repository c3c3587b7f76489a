"""Servers under many requests: memory that stays where it is, and neighbours that notice nothing of a process that dies."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import logging
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.service.serving import Server
from tests.waiting import wait_until

log = logging.getLogger("telegrad.tests")

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and processes are looked up in /proc")

STEP: dict[str, Any] = {
    "commands": [
        {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
        {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
        {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["loss"]},
        {"command": "backward", "tensors": ["loss"]},
        {"command": "read", "tensor": "x.grad"},
        {"command": "release", "tensors": ["x", "y", "loss"]},
    ]
}


def _op(op: str, inputs: list[Any], *outputs: str, **parameters: Any) -> dict[str, Any]:
    command = {"command": "apply", "op": op, "inputs": inputs, "parameters": parameters}
    return {**command, "outputs": list(outputs)} if outputs else command


SECOND_ORDER: dict[str, Any] = {
    "commands": [
        {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
        _op("pow", ["x", 3], "y"),
        _op("sum", ["y"], "loss"),
        {"command": "grad", "outputs": ["loss"], "inputs": ["x"], "results": ["g"], "create_graph": True},
        _op("sum", ["g"], "h"),
        {"command": "backward", "tensors": ["h"]},
        {"command": "read", "tensor": "x.grad"},
        {"command": "release", "tensors": ["x", "y", "loss", "g", "h"]},
    ]
}
WRITES: dict[str, Any] = {
    "commands": [
        {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0, 4.0], "requires_grad": True},
        _op("mul", ["x", 2.0], "y"),
        _op("reshape", ["y"], "v", shape=[2, 2]),
        _op("mul_", ["v", 3.0]),
        _op("sum", ["y"], "loss"),
        {"command": "backward", "tensors": ["loss"]},
        {"command": "read", "tensor": "x.grad"},
        {"command": "release", "tensors": ["x", "y", "v", "loss"]},
    ]
}
WRONG = {"commands": [{"command": "apply", "op": "add", "inputs": ["x", "nobody"], "outputs": ["z"]}]}


@pytest.fixture(params=["process", "inline"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One that keeps sessions in memory's own file system, where there is one: what is asked here is not how fast a disk is."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    made = Server(folder, "--isolation", request.param, "--snapshot-seconds", "0.5", "--idempotency-seconds", "1")
    yield made
    made.stop()
    shutil.rmtree(folder)


def message(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    """A request as bytes."""
    text = b"" if body is None else json.dumps(body).encode()
    head = {"host": "x", "content-type": "application/json", "content-length": str(len(text)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *[f"{name.replace('_', '-')}: {value}" for name, value in head.items()]]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


def upload(path: str, content: bytes) -> bytes:
    """A request that brings an array as it is."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _read(name: str) -> dict[str, Any]:
    return {"command": "read", "tensor": name}


def _release(*names: str) -> dict[str, Any]:
    return {"command": "release", "tensors": names}


class Wire:
    """One connection, one request after the other."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        at = head.find(b"content-length: ") + 16
        length = int(head[at : head.index(b"\r", at)]) if at > 15 else 0
        body = await self.reader.readexactly(length)
        while b"transfer-encoding: chunked" in head:  # events
            piece = int(await self.reader.readuntil(b"\r\n"), 16)
            body += (await self.reader.readexactly(piece + 2))[:piece]
            if not piece:
                break
        return int(head[9:12]), body


# Memory ------------------------------------------------------------------------------------------------------------------------


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Accounts:
    """What processes hold, which they tell when they are asked; see ``accounting/sitecustomize.py``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {
            "ACCOUNTS": str(folder),
            "PYTHONPATH": str(Path(__file__).parent / "accounting"),
            "PYTHONMALLOC": "malloc",
            "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
        }

    def held_bytes(self, pid: int) -> int:
        """What is allocated and not freed."""
        told = self._folder / str(pid)
        before = told.read_text().count("\n") if told.exists() else 0
        os.kill(pid, signal.SIGUSR2)
        wait_until(lambda: told.exists() and told.read_text().count("\n") > before)
        return int(told.read_text().split()[-1])


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    """For the server that is started next."""
    made = Accounts(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def family(root: int) -> list[int]:
    """A process and all under it."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def slope(samples: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Least squares: bytes a request, and the half-width of the interval that has the true value 99 times in 100.

    Student's quantile for 8 to 30 degrees of freedom is 3.4 or less.
    """
    x, y = np.asarray(samples, float).T
    x = x - x.mean()
    (found,) = np.linalg.lstsq(x[:, None], y - y.mean(), rcond=None)[0]
    rest = y - y.mean() - found * x
    return float(found), 3.4 * float(np.sqrt((rest @ rest) / (len(x) - 2) / (x @ x)))


def test_the_slope_finds_a_leak_and_none_where_none_is():
    dice = np.random.default_rng(0)
    noise = 4096 * dice.integers(-8, 8, 20)
    level = [(1000 * i, 10**8 + int(n)) for i, n in enumerate(noise)]
    found, within = slope(level)
    assert abs(found) < within
    found, within = slope([(x, y + 56 * x) for x, y in level])
    assert found - within > 40


def memory(
    server: Server, requests: int, sessions: int, blocks: int = 24, warm: int = 10, look: Callable[[int], int] = resident_bytes
) -> dict[int, tuple[float, float, int]]:
    """By process: slope of what ``look`` finds, in bytes a request, its uncertainty, and growth in bytes, after ``warm`` of so many
    blocks of requests.

    A session takes some megabytes more in its first 4,000 requests: caches fill, and the collector is not asked before.
    """
    places = [server("POST", "/v1/sessions", {"seed": i}).headers["location"] for i in range(sessions)]
    runs: list[list[tuple[int, bytes]]] = []
    keys = itertools.count()
    for at in places:
        kept = {"id": "kept", "data": [float(i) for i in range(8)], "requires_grad": True}
        server("POST", f"{at}/tensors", kept).raise_for_status()

        def store(*commands: dict[str, Any], at: str = at) -> str:
            program = {"inputs": ["p"], "commands": commands}
            return f"{server('POST', f'{at}/programs', program).raise_for_status().json()['id']}"

        square = store(_op("mul", ["p", "p"], "q"))
        shift = store(
            _op("add", ["p", 1.0], "q")
        )  # which saves nothing: its results have a history that is made when it is asked for
        given = {"inputs": {"p": "kept"}}
        result = {"command": "run", "program": shift, **given, "outputs": {"q": "q"}}
        array = np.arange(512.0).tobytes()
        runs.append([
            (200, message("POST", f"{at}/batch", STEP)),
            (200, message("POST", f"{at}/programs/{square}/run", given)),
            (200, message("POST", f"{at}/programs/{square}/run", {**given, "times": 3}, accept="text/event-stream")),
            (200, message("POST", f"{at}/programs/{shift}/run", {**given, "outputs": {"q": "r"}})),
            (200, message("POST", f"{at}/batch", {"commands": [result, _read("q"), _read("r"), _release("q", "r")]})),
            (200, message("POST", f"{at}/batch", SECOND_ORDER)),
            (200, message("POST", f"{at}/batch", WRITES)),
            (201, upload(f"{at}/tensors?id=up&dtype=float64&shape=512", array)),
            (200, message("GET", f"{at}/tensors/up?index=3:9")),
            (200, message("GET", f"{at}/tensors/up", accept="application/octet-stream")),
            (204, message("DELETE", f"{at}/tensors/up")),
            (200, message("GET", f"{at}/tensors/kept")),
            (404, message("POST", f"{at}/batch", WRONG)),
            (404, message("GET", f"{at}/tensors/nobody")),
        ])  # fmt: skip

    async def send(wire: Wire, mine: list[tuple[int, bytes]], at: str, count: int) -> None:
        for i in range(count):
            expected, request = mine[i % len(mine)]
            status, body = await wire.ask(request)
            assert status == expected, body
            if i % 50 == 49:  # remembered answers have their bound, too
                status, body = await wire.ask(message("POST", f"{at}/batch", STEP, idempotency_key=f"k{next(keys)}"))
                assert status == 200, body

    samples: dict[int, list[tuple[int, int]]] = {pid: [] for pid in family(server.process.pid)}

    async def everything() -> None:
        async with contextlib.AsyncExitStack() as stack:
            wires = [await stack.enter_async_context(Wire(server.port)) for _ in places]
            for block in range(blocks):
                each = requests // blocks // sessions // len(runs[0]) * len(runs[0])  # whole rounds: what one makes it deletes
                await asyncio.gather(*[send(*one, each) for one in zip(wires, runs, places, strict=True)])
                if block >= warm:
                    for pid, found in samples.items():
                        found.append(((block + 1) * each * sessions, look(pid)))

    asyncio.run(everything())
    return {pid: (*slope(found), found[-1][1] - found[0][1]) for pid, found in samples.items()}


RESOLUTION_BYTES = 2**20
"""What an allocator may take at once: one such step in the whole run says nothing."""


HELD_RESOLUTION_BYTES = 2**14
"""Likewise of what is held: answers that are remembered for a second, buffers of connections."""


def check(found: dict[int, tuple[float, float, int]], requests: int, resolution: int = RESOLUTION_BYTES) -> None:
    rows = {pid: row for pid, row in found.items() if row[0] - row[1] > 0 and row[2] > resolution}
    told = [f"{pid}: {row[0]:+.3f} ± {row[1]:.3f} bytes a request, {row[2]:+,} in all" for pid, row in found.items()]
    log.info("%d requests; processes %s", requests, "; ".join(told))
    assert rows == {}


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[Server]:
    """One whose garbage is collected as often as Python does by itself: what is left then is not garbage."""
    made = Server(tmp_path, "--tune-process", "false", "--durability", "none", "--idempotency-seconds", "1")
    yield made
    made.stop()


def test_thousands_of_requests_leave_memory_where_it_is(plain_server):
    check(memory(plain_server, 4_000, sessions=1), 4_000)


@pytest.mark.soak
def test_a_million_requests_leave_memory_where_it_is(server):
    count = int(os.environ.get("SOAK_REQUESTS", "1000000"))
    check(memory(server, count, sessions=3), count)


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_what_a_server_holds_is_the_same_after_hundreds_of_thousands_of_requests(accounts, server):
    """Sharper than pages, which allocators keep and fragment: not a byte a request may stay."""
    count = int(os.environ.get("SOAK_REQUESTS", "1000000")) // 5
    check(memory(server, count, sessions=3, look=accounts.held_bytes), count, HELD_RESOLUTION_BYTES)


# Neighbours --------------------------------------------------------------------------------------------------------------------


@dataclass
class Neighbour:
    """Somebody who trains beside others.

    Attributes:
        at: his session.
        values: what he got, one after the other.
        seconds: that each took.
    """

    at: str
    values: list[bytes] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def training(server: Server, seed: int) -> Neighbour:
    at = server("POST", "/v1/sessions", {"seed": seed}).headers["location"]
    create = {"command": "apply", "op": "randn", "inputs": [], "parameters": {"size": [64]}, "outputs": ["w"]}
    server("POST", f"{at}/batch", {"commands": [create, {"command": "set", "tensor": "w", "requires_grad": True}]})
    return Neighbour(at)


DESCENT: dict[str, Any] = {
    "commands": [
        {"command": "apply", "op": "dropout", "inputs": ["w"], "parameters": {"p": 0.3}, "outputs": ["d"]},
        {"command": "apply", "op": "tanh", "inputs": ["d"], "outputs": ["t"]},
        {"command": "apply", "op": "sum", "inputs": ["t"], "outputs": ["loss"]},
        {"command": "backward", "tensors": ["loss"]},
        {"command": "apply", "op": "mul", "inputs": ["w.grad", 0.1], "outputs": ["s"], "grad_enabled": False},
        {"command": "apply", "op": "sub_", "inputs": ["w", "s"], "grad_enabled": False},
        {"command": "set", "tensor": "w", "grad": None},
        {"command": "read", "tensor": "w", "encoding": "base64"},
        {"command": "release", "tensors": ["d", "t", "loss", "s"]},
    ]
}


async def train(port: int, somebody: Neighbour, steps: int, pause_seconds: float) -> None:
    async with Wire(port) as wire:
        request = message("POST", f"{somebody.at}/batch", DESCENT)
        for _ in range(steps):
            begun = time.perf_counter()
            status, body = await wire.ask(request)
            somebody.seconds.append(time.perf_counter() - begun)
            assert status == 200, body
            somebody.values.append(json.dumps(json.loads(body)["results"]).encode())
            await asyncio.sleep(pause_seconds)


async def suffer(port: int, at: str, worker: Callable[[], int | None], until: asyncio.Event, dice: random.Random) -> int:
    """A session whose process is killed again and again, three times at least, in the middle of what it does; how often."""
    killed = 0
    async with Wire(port) as wire:
        request = message("POST", f"{at}/batch", {"commands": STEP["commands"] * 40})
        while not until.is_set() or killed < 3:
            asked = asyncio.ensure_future(wire.ask(request))
            await asyncio.sleep(dice.random() * 0.02)
            pid = worker()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            status, _ = await asked
            assert status in (200, 503), status
            await asyncio.sleep(0.05)
    return killed


def beside_one_that_dies(server: Server, steps: int, neighbours: int = 3) -> tuple[list[Neighbour], list[Neighbour], int]:
    """The same training twice: alone, and beside a session that is killed all the time; and how often that was."""
    quiet = [training(server, seed) for seed in range(neighbours)]
    pause_seconds = 0.005

    async def alone() -> None:
        await asyncio.gather(*[train(server.port, one, steps, pause_seconds) for one in quiet])

    asyncio.run(alone())
    disturbed = [training(server, seed) for seed in range(neighbours)]
    known = set(family(server.process.pid))
    victim = server("POST", "/v1/sessions", {}).headers["location"]
    helper = next(
        pid for pid in known if b"hosts.warm" in Path(f"/proc/{pid}/cmdline").read_bytes() and pid in children(server.process.pid)
    )

    def worker() -> int | None:
        return next((pid for pid in children(helper) if pid not in known), None)

    async def together() -> int:
        done = asyncio.Event()
        dying = asyncio.ensure_future(suffer(server.port, victim, worker, done, random.Random(0)))
        await asyncio.gather(*[train(server.port, one, steps, pause_seconds) for one in disturbed])
        done.set()
        return await dying

    return quiet, disturbed, asyncio.run(together())


def children(pid: int) -> list[int]:
    return [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]


def p99(somebody: Sequence[Neighbour]) -> float:
    return float(np.quantile([s for one in somebody for s in one.seconds], 0.99))


@pytest.mark.parametrize("server", ["process"], indirect=True)
def test_neighbours_of_a_process_that_dies_get_the_same_bits(server):
    quiet, disturbed, killed = beside_one_that_dies(server, steps=60)
    assert killed > 2
    assert [one.values for one in quiet] == [one.values for one in disturbed]


@pytest.mark.soak
@pytest.mark.parametrize("server", ["process"], indirect=True)
def test_neighbours_of_a_process_that_dies_wait_no_longer(server):
    quiet, disturbed, killed = beside_one_that_dies(server, steps=1500)
    ratio = p99(disturbed) / p99(quiet)
    log.info("%d deaths: p99 of neighbours %.1f ms, %.2f of that without", killed, 1e3 * p99(disturbed), ratio)
    assert [one.values for one in quiet] == [one.values for one in disturbed]
    assert ratio < 3
