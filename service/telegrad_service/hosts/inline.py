"""Sessions in the server's own process: a bounded pool of threads computes, and the event loop what is over at once."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Final, TypeVar

from telegrad.contract.limits import Limits
from telegrad_service import process
from telegrad_service.hosts import verbs
from telegrad_service.hosts.base import Answer, Work, copied
from telegrad_service.hosts.durable import LOOKS, DurableSession
from telegrad_service.hosts.keeping import Keeping
from telegrad_service.hosts.ledger import Ledger
from telegrad_service.hosts.place import Place
from telegrad_service.hosts.queueing import QueueingHost
from telegrad_service.hosts.streams import Borrowed
from telegrad_service.session.account import Allowance, Need, Report
from telegrad_service.session.haste import Haste, TooLongError
from telegrad_service.session.watch import Watch

T = TypeVar("T")

_SHORT_BODY_BYTES: Final = 4096
"""A longer request takes too long to be decoded on the event loop."""

_SMALL_ARRAYS_BYTES: Final = 2**16
"""Arrays that come with a request; larger ones take a while to be copied, or to be looked at for a number of the right type."""

_SHORT_ANSWER_BYTES: Final = 2**20
"""A shorter answer is copied: sending it from the session's memory would save nothing."""


class _NearAccount:
    """A session's account in its own process."""

    def __init__(self, ledger: Ledger, session_id: str) -> None:
        self._ledger = ledger
        self._session_id = session_id

    def ask(self, need: Need) -> Allowance:
        """See ``Account.ask``."""
        return self._ledger.ask(self._session_id, need)


class InlineHost(QueueingHost[DurableSession]):
    """See ``Host``."""

    def __init__(self, limits: Limits, *, compute_threads: int, max_waiting_requests: int, keeping: Keeping | None = None) -> None:
        """Prepare a host whose sessions have these limits, and are kept so (None: nowhere)."""
        super().__init__(limits, max_waiting_requests=max_waiting_requests, keeping=keeping)
        self._threads = compute_threads
        self._pool: ThreadPoolExecutor | None = None
        self._borrowed: weakref.WeakKeyDictionary[DurableSession, weakref.WeakSet[Borrowed]] = weakref.WeakKeyDictionary()

    async def start(self) -> None:
        """See ``Host.start``."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="telegrad-compute")
        await super().start()

    async def stop(self, drain_seconds: float) -> int:
        """See ``Host.stop``."""
        unfinished = await super().stop(drain_seconds)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, wait=not unfinished, cancel_futures=unfinished > 0)
        self._end()
        return unfinished

    async def _settle(self, place: Place[DurableSession], work: Work) -> DurableSession:
        account, is_new = _NearAccount(self.ledger, place.id), work.verb == "open"
        return await self._compute(lambda: DurableSession(place.kept, self.limits, self._keeping, account=account, is_new=is_new))

    def _at_once(self, resident: DurableSession, work: Work, watch: Watch | None) -> Answer | None:
        # A journal waits for the disk.
        if (
            (self._borrowed and self._borrowed.get(resident))
            or work.verb not in verbs.SHORT_VERBS
            or len(work.body) > _SHORT_BODY_BYTES
            or self._keeping.is_durable
        ):
            return None
        if work.buffers and sum([array.nbytes for array in work.buffers.values()]) > _SMALL_ARRAYS_BYTES:
            return None
        if work.allowance is not None:
            return None  # it may have to count what it holds
        try:
            return Context().run(_do_in_haste, resident, work, watch).owned()
        except TooLongError as error:
            work.paused = error.with_traceback(None)  # whose frames have the work
            return None

    async def _perform(self, resident: DurableSession, work: Work, watch: Watch | None) -> Answer:
        if work.paused is None:
            found = self._at_once(resident, work, watch)
            if found is not None:
                return found
        paused, work.paused = work.paused, None
        if work.verb not in LOOKS:
            for borrowed in list(self._borrowed.get(resident, ())):
                await borrowed.own(lambda pieces: self._compute(lambda: [memoryview(copied(piece)) for piece in pieces]))
        return self._lent(resident, await self._compute(lambda: _owned_if_short(resident.do(work, watch, paused=paused))))

    def _lent(self, resident: DurableSession, answer: Answer) -> Answer:
        """The answer; a long one is sent from the session's memory, until the session goes on."""
        if answer.nbytes <= _SHORT_ANSWER_BYTES or all(isinstance(piece, bytes) for piece in answer.pieces):
            return answer
        borrowed = Borrowed(answer.pieces)
        self._borrowed.setdefault(resident, weakref.WeakSet()).add(borrowed)
        return answer._replace(pieces=(), stream=borrowed, stream_bytes=answer.nbytes)

    def _done(self, resident: DurableSession) -> tuple[Mapping[str, int], float]:
        return resident.session.done, resident.journal_seconds

    def _report(self, resident: DurableSession) -> Report | None:
        return resident.report()

    async def _rest(self, resident: DurableSession) -> None:
        await self._compute(resident.rest)

    def _is_restless(self, resident: DurableSession) -> bool:
        return resident.is_restless

    async def _vacate(self, resident: DurableSession) -> None:
        await self._compute(resident.close)
        await self._compute(process.give_back)

    async def _put_to_sleep(self, resident: DurableSession) -> None:
        await self._compute(resident.stop)
        await self._compute(process.give_back)

    def _abandon(self, resident: DurableSession, *, busy: bool) -> None:
        if not busy and self._pool is not None:
            self._pool.submit(resident.stop)

    async def _compute(self, function: Callable[[], T]) -> T:
        # A context of its own: a mode that one request sets must not be the next one's in the same thread.
        return await asyncio.get_running_loop().run_in_executor(self._pool, Context().run, function)


def _owned_if_short(answer: Answer) -> Answer:
    """The session may go on while a short answer is sent, so that needs memory of its own."""
    return answer.owned() if answer.nbytes <= _SHORT_ANSWER_BYTES else answer


def _do_in_haste(resident: DurableSession, work: Work, watch: Watch | None) -> Answer:
    return resident.do(work, watch, haste=Haste())
