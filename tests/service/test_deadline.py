"""A deadline that moves with every request, with one timer for all of them."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable

import pytest

from telegrad_service.hosts.deadline import Deadline


class Clock(selectors.DefaultSelector):
    """Time that passes only while an event loop has nothing to do: at once, and by just what it waits for."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is not None:
            self.seconds += timeout
        return found


def run(scenario: Callable[[Deadline, list[float]], Awaitable[None]]) -> list[float]:
    """Let it happen to a deadline of 50 ms; when it was called, in seconds from the beginning."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        begun, calls = loop.time(), list[float]()
        await scenario(Deadline(0.05, lambda: calls.append(loop.time() - begun)), calls)
        return calls

    def loop_with_a_clock() -> asyncio.AbstractEventLoop:
        clock = Clock()
        loop = asyncio.SelectorEventLoop(clock)
        loop.time = lambda: clock.seconds  # type: ignore[method-assign]
        return loop

    with asyncio.Runner(loop_factory=loop_with_a_clock) as runner:
        return runner.run(main())


def test_it_calls_once_where_nobody_cancels_it():
    async def scenario(deadline: Deadline, _calls: list[float]) -> None:
        deadline.set()
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at == pytest.approx(0.05, abs=0.002)


def test_it_moves_with_every_time_that_it_is_set():
    async def scenario(deadline: Deadline, calls: list[float]) -> None:
        for _ in range(4):
            deadline.set()
            await asyncio.sleep(0.03)
            assert not calls
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at == pytest.approx(0.14, abs=0.002)


def test_one_that_was_cancelled_does_not_call_and_can_be_set_again():
    async def scenario(deadline: Deadline, calls: list[float]) -> None:
        deadline.set()
        deadline.cancel()
        await asyncio.sleep(0.15)
        assert not calls
        deadline.set()
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at == pytest.approx(0.2, abs=0.002)


def test_one_that_was_cancelled_and_set_again_counts_from_then_on():
    async def scenario(deadline: Deadline, _calls: list[float]) -> None:
        deadline.set()
        await asyncio.sleep(0.03)
        deadline.cancel()
        deadline.set()
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at == pytest.approx(0.08, abs=0.002)


def test_one_that_is_closed_calls_nobody():
    async def scenario(deadline: Deadline, _calls: list[float]) -> None:
        deadline.set()
        deadline.close()
        await asyncio.sleep(0.15)

    assert run(scenario) == []
