"""A turn that is taken without a task: what has begun goes on, and keeps its session, whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from telegrad.contract.errors import ConflictError
from telegrad_service.hosts.base import Answer, Did, Work
from telegrad_service.hosts.place import Place
from telegrad_service.hosts.turns import Turn
from telegrad_service.journal.base import Kept
from telegrad_service.session.watch import Watch

ANSWER = Answer((b"{}",), headers=(("Telegrad-Seq", "7"), ("Telegrad-Durable-Seq", "5")))


def taken(scenario: Callable[[Turn, Place[Any], Work, set[asyncio.Future[Any]]], Awaitable[None]]) -> None:
    """Run a scenario on a turn that has just begun."""

    async def run() -> None:
        place: Place[Any] = Place(1, Kept("a", 0.0))
        await place.lock.acquire()
        tasks: set[asyncio.Future[Any]] = set()
        work = Work("batch", key="k", did=Did())
        watch = place.watches["r"] = Watch("r")
        await scenario(Turn(place, work, watch, tasks, lambda: ({"read": 2}, 0.5)), place, work, tasks)

    asyncio.run(run())


def assert_free(place: Place[Any], tasks: set[asyncio.Future[Any]]) -> None:
    assert (place.pending, place.lock.locked(), place.keys, place.watches, tasks) == (0, False, set(), {}, set())


def test_an_answer_is_handed_out_and_noted():
    async def scenario(turn: Turn, place: Place[Any], work: Work, tasks: set[asyncio.Future[Any]]) -> None:
        assert (place.pending, place.keys, len(tasks)) == (1, {"k"}, 1)
        asyncio.get_running_loop().call_soon(turn.end, ANSWER)
        assert await turn.wait() is ANSWER
        assert_free(place, tasks)
        assert place.lag == 2
        assert work.did is not None
        assert (work.did.commands, work.did.journal_seconds) == ({"read": 2}, 0.5)

    taken(scenario)


def test_an_error_is_raised_where_it_is_waited_for():
    async def scenario(turn: Turn, place: Place[Any], work: Work, tasks: set[asyncio.Future[Any]]) -> None:
        turn.end(ConflictError("taken"))
        with pytest.raises(ConflictError):
            await turn.wait()
        assert_free(place, tasks)

    taken(scenario)


@pytest.mark.parametrize("found", [ANSWER, ConflictError("taken")])
def test_a_caller_that_is_cancelled_leaves_the_session_busy_until_the_end(found):
    async def scenario(turn: Turn, place: Place[Any], work: Work, tasks: set[asyncio.Future[Any]]) -> None:
        caller = asyncio.ensure_future(turn.wait())
        await asyncio.sleep(0)
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller

        assert (place.pending, place.lock.locked(), place.keys) == (1, True, {"k"})
        (rest,) = tasks  # what a stopping host waits for
        assert not rest.done()
        turn.end(found)
        await asyncio.wait_for(rest, 1)
        assert_free(place, tasks)

    taken(scenario)


def test_an_end_in_the_moment_of_the_cancelling_frees_the_session_once():
    async def scenario(turn: Turn, place: Place[Any], work: Work, tasks: set[asyncio.Future[Any]]) -> None:
        caller = asyncio.ensure_future(turn.wait())
        await asyncio.sleep(0)
        caller.cancel()
        turn.end(ANSWER)
        with contextlib.suppress(asyncio.CancelledError):
            await caller
        assert_free(place, tasks)

    taken(scenario)
