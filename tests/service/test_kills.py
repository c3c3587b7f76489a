"""Processes and servers killed at random moments of a training run: nothing acknowledged is lost, nothing is done twice.

The figures are printed at the end; the long form is run by ``make soak``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import telegrad
from tests.service.serving import Server
from tests.training import Training, uncut

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes of sessions under /proc")


LONGEST_SECONDS = 2400


class Killer:
    """Kills a session's process, or the server, which is started again, when some work was done since the last time.

    Attributes:
        killed: how many of each.
        at: when the last one was killed, until work was done again.
        recoveries: seconds from each kill to the next work that was done.
    """

    def __init__(self, server: Server, kills: int, seconds: float, servers: float, seed: int) -> None:
        self.killed: Counter[str] = Counter()
        self.recoveries: list[tuple[str, float]] = []
        self._server, self._kills, self._servers = server, kills, servers
        self._end = time.monotonic() + seconds
        self._dice = random.Random(seed)
        self._worked = threading.Event()
        self._last: tuple[str, float] | None = None
        self._thread = threading.Thread(target=self._kill, daemon=True)
        self._thread.start()

    @property
    def is_at_it(self) -> bool:
        """Whether there is more to come."""
        return self._thread.is_alive()

    def worked(self) -> None:
        """Something was acknowledged."""
        if self._last is not None:
            what, at = self._last
            self.recoveries.append((what, time.monotonic() - at))
            self._last = None
        self._worked.set()

    def _kill(self) -> None:
        while sum(self.killed.values()) < self._kills:  # a process that has just ended by itself cannot be killed
            self._worked.clear()
            if not self._worked.wait(120) or time.monotonic() > self._end:
                return
            time.sleep(self._dice.uniform(0, 0.03))
            if self._dice.random() < self._servers:
                self._last = "server", time.monotonic()
                self._server.restart(signal.SIGKILL)
                self.killed["server"] += 1
            else:
                pids = self._server.workers()
                self._last = "worker", time.monotonic()
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                self.killed["worker"] += bool(pids)


def survive(folder: Path, kills: int, tell: Callable[[str], None], *, servers: float, isolation: str, seed: int) -> None:
    """Train until so many were killed, or a slow machine's time is over, and compare with a run in peace."""
    begun = time.monotonic()
    server = Server(folder, "--isolation", isolation)
    try:
        with telegrad.connect(server.url, retry_seconds=600) as session:
            training = Training(session)
            killer = Killer(server, kills, LONGEST_SECONDS, servers, seed)
            rounds = 0
            while killer.is_at_it:
                training.step()
                killer.worked()
                rounds += 1
            training.step()
            found = training.seen, training.state()
    finally:
        server.stop()
    assert sum(killer.killed.values()) >= kills or time.monotonic() - begun > LONGEST_SECONDS
    expected = uncut(rounds + 1)
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    tell(f"{sum(killer.killed.values()):,} kills ({dict(killer.killed)}) in {training.done:,} steps: 0 lost, 0 doubled, bits equal")
    for what in killer.killed:
        seconds = [took for which, took in killer.recoveries if which == what]
        p50, p99 = np.percentile(seconds, (50, 99))
        tell(f"recovery of a {what}: p50 {1000 * p50:,.0f} ms, p99 {1000 * p99:,.0f} ms")


def test_nothing_is_lost_or_doubled_by_kills_of_processes_and_servers(tmp_path, tell):
    survive(tmp_path, 20, tell, servers=0.1, isolation="process", seed=1)


def test_nothing_is_lost_or_doubled_by_kills_of_a_server_that_computes_itself(tmp_path, tell):
    survive(tmp_path, 3, tell, servers=1.0, isolation="inline", seed=2)


@pytest.mark.soak
def test_nothing_is_lost_or_doubled_by_a_thousand_kills(tmp_path, tell):
    survive(tmp_path, 1000, tell, servers=0.2, isolation="process", seed=3)


def test_a_run_of_many_steps_goes_on_where_a_stopping_server_left_it(tmp_path):
    server = Server(tmp_path)
    restarts: list[threading.Thread] = []

    def watch(progress: Any) -> None:
        if progress.run > 100 and not restarts:
            restarts.append(threading.Thread(target=server.restart, args=(signal.SIGTERM,)))
            restarts[0].start()

    try:
        with telegrad.connect(server.url) as session:
            count = session.tensor(0)

            @telegrad.function
            def step() -> telegrad.Tensor:
                return count.add_(1).clone()

            values = step.repeat(60_000, progress=watch)
            restarts[0].join(60)
            assert values.shape == (60_000,)
            assert values[-1].item() == count.item() == 60_000
            assert (values[1:] - values[:-1] == 1).all().item()
    finally:
        server.stop()


def test_a_session_that_was_in_memory_only_says_so_after_a_restart(tmp_path):
    server = Server(tmp_path, "--durability", "none")
    try:
        session = telegrad.connect(server.url)
        x = session.ones(2)
        session.flush()
        server.restart(signal.SIGKILL)
        with pytest.raises(telegrad.errors.SessionLostError, match="Open a new one"):
            (x + 1).tolist()
        with telegrad.connect(server.url) as another:
            assert another.ones(2).tolist() == [1, 1]
    finally:
        server.stop()


def test_awaited_sessions_outlive_kills_too(tmp_path):
    async def scenario(server: Server) -> list[float]:
        seen: list[float] = []
        async with telegrad.connect_async(server.url) as session:
            w = session.ones(2, requires_grad=True)
            for step in range(12):
                (w * step).sum().backward()
                if step % 4 == 1:
                    for pid in server.workers():
                        os.kill(pid, signal.SIGKILL)
                if step == 6:
                    await asyncio.to_thread(server.restart, signal.SIGKILL)
                gradient = await w.grad
                assert gradient is not None
                seen.append(float(await gradient.sum().item()))
        return seen

    server = Server(tmp_path)
    try:
        found = asyncio.run(scenario(server))
    finally:
        server.stop()
    assert found == [2.0 * sum(range(step + 1)) for step in range(12)]
