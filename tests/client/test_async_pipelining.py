"""Async sessions record the next batch while the last one is computed, and no more than can be held."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import numpy as np
import pytest

import telegrad
from telegrad import _defaults
from telegrad.errors import SessionError
from tests.client.wire import Wire, open_async

LONGEST_SECONDS = 20

Scenario = Callable[[telegrad.AsyncSession, Wire], Awaitable[None]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is soon full, a bound that is soon met, and no silence."""
    monkeypatch.setattr(_defaults, "FLUSH_COMMANDS", 64)
    monkeypatch.setattr(_defaults, "AWAIT_COMMANDS", 256)
    monkeypatch.setattr(_defaults, "FLUSH_BYTES", 4000)
    monkeypatch.setattr(_defaults, "AWAIT_BYTES", 8000)
    monkeypatch.setattr(_defaults, "FLUSH_SILENCE_SECONDS", 3600.0)


def run(scenario: Scenario) -> None:
    async def main() -> None:
        async with open_async() as (session, wire):
            await asyncio.wait_for(scenario(session, wire), LONGEST_SECONDS)

    asyncio.run(main())


def fill(x: Any, count: int) -> Any:
    for _ in range(count):
        x = x + 1
    return x


def test_the_next_batch_is_recorded_while_the_last_one_is_computed() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        computing, finish = threading.Event(), threading.Event()

        def hold(_request: httpx2.Request) -> None:
            computing.set()
            assert finish.wait(LONGEST_SECONDS)

        wire.fault = hold
        x = fill(session.zeros(2), 100)
        assert not computing.is_set(), "a plain call sends nothing by itself"
        await asyncio.to_thread(computing.wait, LONGEST_SECONDS)
        x = fill(x, 100)
        assert len(session._recorder.queue) >= 100, "recorded, while the batch before is on its way"
        assert not finish.is_set()
        finish.set()
        assert await x.tolist() == [200.0, 200.0]
        assert wire.trips <= 4

    run(scenario)


def test_a_read_waits_for_the_batch_on_its_way_and_sends_the_rest_with_itself() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x = fill(session.zeros(()), 70)
        await asyncio.sleep(0)
        before = wire.trips
        y = fill(x, 10)
        assert await y.item() == 80
        assert wire.trips - before <= 2

    run(scenario)


def test_what_is_recorded_and_never_awaited_has_a_bound() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        made: list[Any] = [session.zeros(2)]
        with pytest.raises(SessionError, match=r"await session.flush\(\)"):
            made.extend(made[-1] + 1 for _ in range(10_000))
        x, count = made[-1], len(made) - 1
        assert count <= 256 + _defaults.RELEASE_COMMANDS
        with pytest.raises(SessionError, match="recorded and wait"):
            x.add_(1)
        with pytest.raises(SessionError, match="recorded and wait"):
            session.tensor([1.0])
        with pytest.raises(SessionError, match="recorded and wait"):
            session.zeros(2, requires_grad=True).sum().backward()

        assert await x.tolist() == [count, count], "what was recorded counts, and nothing of what was refused"
        await session.flush()
        assert await fill(x, 100).tolist() == [count + 100.0] * 2

    run(scenario)


def test_a_refused_backward_leaves_gradients_as_they_were() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x: Any = session.tensor([1.0], requires_grad=True)
        y = (x * x).sum()
        with pytest.raises(SessionError):
            fill(session.zeros(2), 10_000)
        with pytest.raises(SessionError, match="recorded and wait"):
            y.backward()
        with pytest.raises(SessionError, match="recorded and wait"):
            session.grad(y, x)
        assert await x.grad is None
        await session.flush()
        y.backward()
        assert (await (await x.grad).tolist()) == [2.0]

    run(scenario)


def test_bytes_have_a_bound_too() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        kept: list[Any] = []
        with pytest.raises(SessionError, match="bytes of new tensors"):
            kept.extend(session.tensor(np.full(100, float(value))) for value in range(100))
        assert 10 <= len(kept) <= 11
        await session.flush()
        assert [await t[0].item() for t in kept] == [float(v) for v in range(len(kept))]
        assert await session.tensor(np.ones(100)).sum().item() == 100

    run(scenario)


def test_who_awaits_something_else_now_and_then_meets_no_bound() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x: Any = session.zeros(2)
        for _ in range(40):
            x = fill(x, 100)
            for _ in range(1000):
                await asyncio.sleep(0.002)
                if len(session._recorder.queue) < 64:
                    break
        assert await x.tolist() == [4000.0, 4000.0]

    run(scenario)


def test_recorded_outside_of_a_loop_it_is_bounded_as_well() -> None:
    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        x = session.zeros(2)

        def elsewhere() -> None:
            with pytest.raises(SessionError, match="recorded and wait"):
                fill(x, 10_000)

        await asyncio.to_thread(elsewhere)
        assert await x.tolist() == [0.0, 0.0]

    run(scenario)


def test_many_new_tensors_go_in_requests_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_BYTES", 2000)

    async def scenario(session: telegrad.AsyncSession, wire: Wire) -> None:
        kept = [session.tensor(np.full(100, float(value))) for value in range(8)]
        large = session.tensor(np.ones(400))  # more than fits, alone
        await session.flush()
        sizes = [len(request.content) for request in wire.requests if "batch" in request.url.path]
        assert len(sizes) == 5
        assert max(sizes) < 400 * 8 + 1000
        assert await kept[-1].sum().item() == 700
        assert await large.sum().item() == 400

    run(scenario)
