"""A deadline that moves with every request, with one timer for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from telegrad_service.hosts.deadline import Deadline


def run(scenario: Callable[[Deadline, list[float]], Awaitable[None]]) -> list[float]:
    """Let it happen to a deadline of 50 ms; when it was called, in seconds from the beginning."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        begun, calls = loop.time(), list[float]()
        await scenario(Deadline(0.05, lambda: calls.append(loop.time() - begun)), calls)
        return calls

    return asyncio.run(main())


def test_it_calls_once_where_nobody_cancels_it():
    async def scenario(deadline: Deadline, _calls: list[float]) -> None:
        deadline.set()
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at >= 0.049


def test_it_moves_with_every_time_that_it_is_set():
    async def scenario(deadline: Deadline, calls: list[float]) -> None:
        for _ in range(4):
            deadline.set()
            await asyncio.sleep(0.03)
            assert not calls
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at >= 0.139


def test_one_that_was_cancelled_does_not_call_and_can_be_set_again():
    async def scenario(deadline: Deadline, calls: list[float]) -> None:
        deadline.set()
        deadline.cancel()
        await asyncio.sleep(0.15)
        assert not calls
        deadline.set()
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at >= 0.199


def test_one_that_was_cancelled_and_set_again_counts_from_then_on():
    async def scenario(deadline: Deadline, _calls: list[float]) -> None:
        deadline.set()
        await asyncio.sleep(0.03)
        deadline.cancel()
        deadline.set()
        await asyncio.sleep(0.3)

    (at,) = run(scenario)
    assert at >= 0.079


def test_one_that_is_closed_calls_nobody():
    async def scenario(deadline: Deadline, _calls: list[float]) -> None:
        deadline.set()
        deadline.close()
        await asyncio.sleep(0.15)

    assert run(scenario) == []
