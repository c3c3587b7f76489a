"""A session's turn without a task: work that is begun on the event loop, and of whose end its host hears.

Most requests find their session free, and are one exchange with its process. A task that waits for the turn, another for the
answer, and their ways through the loop would take as long as the exchange itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.place import Place
from telegrad_service.session.watch import Watch


class Turn:
    """One piece of work that has its session's turn, from now until ``end``, whoever waits for it.

    Attributes:
        answer: what comes of it. Whoever waits may be cancelled, and it with him.
    """

    __slots__ = ("_begun", "_done", "_place", "_rest", "_tasks", "_watch", "_work", "answer")

    def __init__(
        self,
        place: Place[Any],
        work: Work,
        watch: Watch | None,
        tasks: set[asyncio.Future[Any]],
        done: Callable[[], tuple[Mapping[str, int], float]],
    ) -> None:
        """Take the turn, whose lock is held.

        Args:
            place: of the session.
            work: to be done.
            watch: who follows it; the place forgets him when it is over.
            tasks: what the host waits for when it stops; the work is among them.
            done: when it is over says what the session did: commands by kind, and seconds of its journal.
        """
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._place, self._work, self._watch, self._tasks, self._done = place, work, watch, tasks, done
        self._rest: asyncio.Future[Any] = self.answer
        self._begun = time.perf_counter()
        place.pending += 1
        if work.key:
            place.keys.add(work.key)
        tasks.add(self.answer)

    async def wait(self) -> Answer:
        """What came of it. Raises what it raised."""
        try:
            return await self.answer
        except asyncio.CancelledError:
            if self._rest is self.answer and self._rest in self._tasks:  # it goes on, and the host knows
                self._tasks.discard(self.answer)
                self._rest = asyncio.get_running_loop().create_future()
                self._tasks.add(self._rest)
            raise

    def end(self, found: Answer | Exception) -> None:
        """It is over: the next one has the turn."""
        place, answer, did = self._place, self.answer, self._work.did
        if did is not None:
            did.session_seconds = time.perf_counter() - self._begun
            did.commands, did.journal_seconds = self._done()
        if isinstance(found, Answer):
            place.note(found)
        place.forget(self._watch)
        place.keys.discard(self._work.key)
        place.pending -= 1
        place.used = time.monotonic()
        place.lock.release()
        self._tasks.discard(self._rest)
        if self._rest is not answer:
            self._rest.set_result(None)
        elif answer.done():  # he was cancelled in this moment
            return
        elif isinstance(found, Answer):
            answer.set_result(found)
        else:
            answer.set_exception(found)
