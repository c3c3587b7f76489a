"""What a process for each session costs: a small request against the same with all sessions in one process, and 400 live sessions
against 4 under the same load.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.harness import compare, show
from benchmarks.roundtrip import server

GOAL_MICROSECONDS = 150
SESSIONS = 400
REQUESTS = 4000
ROUNDS = 60
ROUND_REQUESTS = 50

STEP: dict[str, Any] = {
    "commands": [
        {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
        {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["squares"]},
        {"command": "apply", "op": "sum", "inputs": ["squares"], "outputs": ["y"]},
        {"command": "backward", "tensors": ["y"]},
        {"command": "read", "tensor": "x.grad"},
        {"command": "release", "tensors": ["x", "squares", "y"]},
    ]
}


def memory_bytes(root: int) -> int:
    """What a process and all under it hold: shared pages are counted once, in parts (PSS). Linux only.

    They stand still meanwhile: a page that a second one maps between two looks would count one time and a half.
    """
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    family = [root]
    for pid in family:
        family += children.get(pid, [])
    total = 0
    try:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
                os.kill(pid, signal.SIGSTOP)
        for pid in family:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += 1024 * int(line.split()[1])
    finally:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return total


def latencies(client: httpx2.Client, addresses: list[str]) -> list[float]:
    """Seconds of each of ``REQUESTS`` steps, one after the other, each in a session drawn at random; sorted."""
    rng = random.Random(0)
    found: list[float] = []
    for _ in range(REQUESTS):
        address = rng.choice(addresses)
        begun = time.perf_counter()
        client.post(f"{address}/batch", json=STEP).raise_for_status()
        found.append(time.perf_counter() - begun)
    return sorted(found)


def price(ours: Callable[[], object], floor: Callable[[], object]) -> tuple[float, tuple[float, float]]:
    """How many seconds longer the median request of one kind takes than that of another, over all rounds and (10-90 %) in each.

    They take turns; a round is long enough to be served from warm caches, and its requests are timed one by one, so that the few
    that wait for the disk or for other programs are no part of a median.
    """
    times: tuple[list[list[float]], list[list[float]]] = ([], [])
    for _ in range(ROUNDS):
        for side, request in zip(times, (ours, floor), strict=True):
            found: list[float] = []
            for _ in range(ROUND_REQUESTS):
                begun = time.perf_counter()
                request()
                found.append(time.perf_counter() - begun)
            side.append(found)
    medians = [statistics.median(time for found in side for time in found) for side in times]
    each = sorted(statistics.median(a) - statistics.median(b) for a, b in zip(*times, strict=True))
    return medians[0] - medians[1], (each[ROUNDS // 10], each[-1 - ROUNDS // 10])


def main() -> None:
    """Print the tables."""
    serve = ("-m", "telegrad_service", "serve", "--port", "PORT")
    with (
        server(*serve, "--isolation", "process", path="/healthz") as isolated,
        server(*serve, "--isolation", "inline", path="/healthz") as inline,
        httpx2.Client() as client,
    ):

        def opened(url: str) -> str:
            return url + client.post(f"{url}/v1/sessions").headers["location"]

        ours, floor = opened(isolated), opened(inline)

        def isolated_step() -> object:
            return client.post(f"{ours}/batch", json=STEP)

        def inline_step() -> object:
            return client.post(f"{floor}/batch", json=STEP)

        row = compare(
            "a step on 3 numbers, process for each session",
            isolated_step,
            inline_step,
            against="all sessions in one process",
            seconds=6,
        )
        show("Isolation", [row])
        median, (low, high) = price(isolated_step, inline_step)
        print(
            f"  price of a process: {1e6 * median:.0f} µs a request at the median, {1e6 * low:.0f} to {1e6 * high:.0f} (10-90 % of "
            f"rounds; goal: under {GOAL_MICROSECONDS} µs)"
        )

        pid = _pid_of(isolated)
        few = [ours, *(opened(isolated) for _ in range(3))]
        many = [*few, *(opened(isolated) for _ in range(SESSIONS - len(few)))]
        latencies(client, many)  # every session has done something
        rounds = [(latencies(client, many), latencies(client, few)) for _ in range(3)]
        p99 = [statistics.median(r[side][int(0.99 * REQUESTS)] for r in rounds) for side in (0, 1)]
        print(f"  p99 of the same load over {SESSIONS} live sessions against 4: {p99[0] / p99[1]:.2f}x ({1e3 * p99[0]:.2f} ms)")
        print(f"  memory of server and {SESSIONS} sessions: {memory_bytes(pid) / 2**20:,.0f} MiB (goal: within 4,096 MiB)")


def _pid_of(url: str) -> int:
    """The process that listens at the address, found by its command line."""
    port = url.rpartition(":")[2]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"--port" in words and port.encode() in words:
                return int(entry.name)
    raise RuntimeError("the server's process was not found")


if __name__ == "__main__":
    main()
