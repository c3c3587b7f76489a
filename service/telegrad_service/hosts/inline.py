"""Sessions in the server's own process: a bounded pool of threads computes, and the event loop what is over at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Final, TypeVar

from telegrad.contract.limits import Limits
from telegrad_service import process
from telegrad_service.hosts import verbs
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.queueing import Place, QueueingHost
from telegrad_service.session.haste import Haste, TooLongError
from telegrad_service.session.session import Session
from telegrad_service.session.watch import Watch

T = TypeVar("T")

_SHORT_BODY_BYTES: Final = 4096
"""A longer request takes too long to be decoded on the event loop."""


class InlineHost(QueueingHost[Session]):
    """See ``Host``."""

    def __init__(self, limits: Limits, *, compute_threads: int, max_waiting_requests: int) -> None:
        """Prepare a host whose sessions have these limits."""
        super().__init__(limits, max_waiting_requests=max_waiting_requests)
        self._threads = compute_threads
        self._pool: ThreadPoolExecutor | None = None
        self._paused: dict[int, tuple[Work, TooLongError]] = {}  # by identity: what began on the event loop and is not done

    async def start(self) -> None:
        """See ``Host.start``."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="telegrad-compute")
        await super().start()

    async def stop(self, drain_seconds: float) -> int:
        """See ``Host.stop``."""
        unfinished = await super().stop(drain_seconds)
        if self._pool is not None:
            self._pool.shutdown(wait=not unfinished, cancel_futures=True)
        return unfinished

    async def _settle(self, place: Place[Session]) -> Session:
        return Session(place.id, self.limits, created=place.created)

    def _at_once(self, resident: Session, work: Work, watch: Watch | None) -> Answer | None:
        if work.verb not in verbs.SHORT_VERBS or len(work.body) > _SHORT_BODY_BYTES or work.buffers:
            return None
        try:
            return Context().run(verbs.do, resident, work, watch, Haste()).owned()
        except TooLongError as error:
            self._paused[id(work)] = work, error
            return None

    async def _perform(self, resident: Session, work: Work, watch: Watch | None) -> Answer:
        if id(work) not in self._paused:
            found = self._at_once(resident, work, watch)
            if found is not None:
                return found
        _, paused = self._paused.pop(id(work), (work, TooLongError()))
        # The session goes on while the answer is sent, so the answer needs memory of its own.
        return await self._compute(lambda: verbs.go_on(resident, work, watch, paused).owned())

    async def _vacate(self, resident: Session) -> None:
        await self._compute(resident.close)
        await self._compute(process.give_back)

    def _abandon(self, resident: Session, *, busy: bool) -> None:
        if not busy:
            resident.close()

    async def _compute(self, function: Callable[[], T]) -> T:
        # A context of its own: a mode that one request sets must not be the next one's in the same thread.
        return await asyncio.get_running_loop().run_in_executor(self._pool, Context().run, function)
