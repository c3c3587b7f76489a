"""What hosts have in common: one session does one thing at a time, in the order of arrival; sessions do not wait for each other."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Generic, TypeVar

from telegrad.contract.errors import (
    ConflictError,
    KeyInProgressError,
    NotFoundError,
    SequenceError,
    StorageError,
    TelegradError,
    UnavailableError,
)
from telegrad.contract.limits import Limits, refuse
from telegrad_service.hosts.base import Answer, Census, Host, Resident, Work
from telegrad_service.hosts.keeping import Keeping
from telegrad_service.hosts.ledger import Ledger
from telegrad_service.hosts.openings import Opening, Openings, new_id
from telegrad_service.hosts.place import Place
from telegrad_service.hosts.turns import Turn
from telegrad_service.hosts.waiting import Waiting
from telegrad_service.journal.base import Journal, Kept, open_journal
from telegrad_service.session.account import Allowance, Report
from telegrad_service.session.watch import Watch

log = logging.getLogger("telegrad.service")

T = TypeVar("T")
R = TypeVar("R")

_GAP_SECONDS: Final = 1.0
"""How long a numbered request waits for those before it."""

_CHECK_SECONDS: Final = 1.0
"""Between two looks whether the journal can be used."""

_PATIENCE_SECONDS: Final = 5.0
"""A journal that has not answered by then is in trouble."""

_REAP_SECONDS: Final = (0.05, 30.0)
"""Shortest and longest pause between two looks for idle sessions."""


class QueueingHost(Host, Generic[R]):
    """See ``Host``. Make it, ``start`` and ``stop`` it in one event loop. What a session lives in is for subclasses to say."""

    def __init__(self, limits: Limits, *, max_waiting_requests: int, keeping: Keeping | None = None) -> None:
        """Prepare a host whose sessions have these limits, and are kept so (None: nowhere)."""
        self.limits = limits
        self.ledger = Ledger(limits)
        self._keeping = keeping or Keeping()
        self._journal: Journal | None = None
        self._openings = Openings(self._keeping.key_seconds)
        self.state = "starting"
        self._queue_of_all = Waiting(max_waiting_requests)
        self._places: dict[str, Place[R]] = {}
        self._count = 0
        self._tasks: set[asyncio.Future[Any]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._undeleted: list[Kept] = []
        self._taken = False

    # What subclasses say -----------------------------------------------------------------------------------------------------

    @abstractmethod
    async def _settle(self, place: Place[R], work: Work) -> R:
        """Give the session of that place a home for this work; it is its turn."""

    @abstractmethod
    async def _perform(self, resident: R, work: Work, watch: Watch | None) -> Answer:
        """Do the work; it is the session's turn. Runs on even if nobody waits any more, but for what ``watch`` is there for."""

    def _at_once(self, resident: R, work: Work, watch: Watch | None) -> Answer | None:  # noqa: ARG002 - for those that can
        """Do the work on the event loop; None where it is too long for that: ``_perform`` does the rest, and is next."""
        return None

    def _can_begin(self, resident: R, work: Work) -> bool:  # noqa: ARG002 - for those that can
        """Whether ``_begin`` can do this work: only where sessions are not in this process."""
        return False

    def _begin(self, resident: R, work: Work, watch: Watch | None, ended: Callable[[Answer | Exception], object]) -> None:
        """Begin work that can be, and do not wait for its end: ``ended`` is told what came of it."""
        raise NotImplementedError

    @abstractmethod
    async def _vacate(self, resident: R) -> None:
        """Free everything of a session that is gone; it is its turn."""

    @abstractmethod
    async def _put_to_sleep(self, resident: R) -> None:
        """Free the memory of a session that is not used, and is in the journal; it is its turn."""

    async def _rest(self, resident: R) -> None:
        """After an answer has left; it is the session's turn. For hosts whose sessions do not see to it themselves."""

    @abstractmethod
    def _done(self, resident: R) -> tuple[Mapping[str, int], float]:
        """The commands that the last request of a session did, by kind, and the seconds for which it waited for its journal."""

    @abstractmethod
    def _report(self, resident: R) -> Report | None:
        """What the session said that it holds when it had done its last work; None where it did not."""

    def _is_restless(self, resident: R) -> bool:  # noqa: ARG002 - see above
        """Whether ``_rest`` has something to do."""
        return False

    @abstractmethod
    def _abandon(self, resident: R, *, busy: bool) -> None:
        """The host stops: free what can be freed at once; what is ``busy`` did not end in time."""

    # The interface -----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """See ``Host.start``. Sessions that are in the journal are there again; each is brought back when it is first asked for."""
        if self._keeping.is_durable:
            self._journal = journal = open_journal(self._keeping.journal_url)
            journal.claim()
            self._openings.keep_in(journal)
            for kept in journal.sessions():
                self._count += 1
                self._places[kept.id] = Place(self._count, kept)
                self.ledger.know(kept.id, kept.tenant)
            self._background.append(asyncio.create_task(self._watch_journal(journal)))
        self._background.append(asyncio.create_task(self._reap()))
        self.state = "ready"

    def drain(self) -> None:
        """See ``Host.drain``."""
        self.state = "draining"
        for place in self._places.values():
            for watch in place.watches.values():
                watch.stop("stopping")

    async def stop(self, drain_seconds: float) -> int:
        """See ``Host.stop``."""
        self.drain()
        for task in self._background:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_seconds)
        unfinished = sum(place.pending > 0 for place in self._places.values())
        for place in self._places.values():
            place.gone = True
            if place.resident is not None:
                self._abandon(place.resident, busy=place.pending > 0)
        self._places.clear()
        self.state = "stopped"
        return unfinished

    def _end(self) -> None:
        """Nobody has a session any more."""
        self._openings.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    async def open(self, work: Work, tenant: str = "") -> Answer:
        """See ``Host.open``."""
        self._check_ready()
        if not work.key:
            return await self._open(new_id(), work, tenant)
        opening = self._openings.find(work, tenant)
        given = None if opening is None else opening.again()
        if given is not None:
            return given
        if opening is not None and opening.session_id in self._places:
            answer = await self.do(opening.session_id, work)  # it knows the answer, or is about to
        else:
            opening = opening or self._openings.begin(work, tenant)
            try:
                answer = await self._open(opening.session_id, work, tenant, opening)
            except BaseException:
                self._openings.forget(opening)
                raise
        self._openings.answered(opening, answer.owned())
        return answer

    async def _open(self, session_id: str, work: Work, tenant: str, opening: Opening | None = None) -> Answer:
        """Make a session of that id; ``opening`` is written down before."""
        if len(self._places) >= self.limits.max_sessions:
            raise refuse(
                "the server",
                len(self._places) + 1,
                self.limits.max_sessions,
                "max_sessions",
                unit="sessions",
                hint="delete sessions that are no longer needed",
            )
        self.ledger.open(session_id, tenant)
        self._count += 1
        place: Place[R] = Place(self._count, Kept(session_id, time.time(), tenant))
        self._places[place.id] = place
        try:
            if opening is not None:
                place.keys.add(work.key)  # the same request, if it comes now, has to wait
                await self._openings.keep(opening)
            return await self._queue(place, work)
        except BaseException:
            if self._remove(place.id) is not None:
                place.gone = True
                self._follow(self._free(place))
            raise

    def require(self, session_id: str, tenant: str) -> None:
        """See ``Host.require``."""
        self._find(session_id, tenant)

    async def do(self, session_id: str, work: Work, watch: Watch | None = None) -> Answer:
        """See ``Host.do``."""
        place = self._find(session_id)
        self._check_ready()
        for other in self.ledger.uncounted(place.tenant):
            if other != session_id:
                await self._count_again(other)
        self._queue_of_all.check(place.tenant, self.ledger.quotas_of(place.tenant).tenant_waiting_requests)
        if work.key in place.keys:
            for known in place.watches.values():
                known.returns += known.repeats is not None and known.repeats == work.repeats  # its client waits for it
            raise KeyInProgressError("a request with this Idempotency-Key is being done; try again in a moment")
        if watch is not None:
            known = place.watches.setdefault(watch.id, watch)
            if known is not watch:
                if watch.repeats is None or known.repeats != watch.repeats:
                    raise ConflictError("the session runs something under that id already; wait for it, or choose another id")
                known.pass_to(watch)
        wait_until = time.monotonic() + _GAP_SECONDS
        while True:
            try:
                if place.pending or place.resident is None or place.lock.locked():
                    return await self._queue(place, work, watch)
                turn = await self._try_to_begin(place, place.resident, work, watch)
                if turn is not None:
                    return await turn.wait()
                found = self._try_at_once(place, place.resident, work, watch)
                return await self._queue(place, work, watch) if found is None else found
            except SequenceError as error:
                # Requests before it may be on their way over another connection.
                received = work.upload is not None and work.upload.taken != 0
                if work.number <= error.extra["expected"] or time.monotonic() > wait_until or received:
                    raise
                await asyncio.sleep(_GAP_SECONDS / 20)
                if watch is not None:
                    place.watches.setdefault(watch.id, watch)

    def _try_at_once(self, place: Place[R], resident: R, work: Work, watch: Watch | None) -> Answer | None:
        """Nobody is before this work: do it without making a task that waits for its turn, if the host can."""
        found = None
        allowance = self.ledger.begin(place.id)
        if allowance is not None:
            return None  # it may have to ask, and to count: a thread's work
        begun = time.perf_counter()
        try:
            found = self._at_once(resident, work, watch)
        except TelegradError:
            place.forget(watch)
            raise
        finally:
            place.used = time.monotonic()
            if work.did is not None:
                work.did.session_seconds = time.perf_counter() - begun
                work.did.commands = self._done(resident)[0]
        if found is not None:
            place.forget(watch)
        return found

    async def _try_to_begin(self, place: Place[R], resident: R, work: Work, watch: Watch | None) -> Turn | None:
        """Nobody is before this work: begin it, if the host hears of its end. Does not wait for anything."""
        if not self._can_begin(resident, work) or self.ledger.begin(place.id) is not None:
            return None
        await place.lock.acquire()  # it is free: nobody else runs before it is taken
        if self._keeping.is_durable:
            work.turn = secrets.token_hex(8)
        turn = Turn(place, work, watch, self._tasks, lambda: self._done(resident))
        self._begin(resident, work, watch, turn.end)
        return turn

    def watches(self, session_id: str) -> Mapping[str, Watch]:
        """See ``Host.watches``."""
        return self._find(session_id).watches

    async def close(self, session_id: str) -> None:
        """See ``Host.close``."""
        place = self._find(session_id)
        self._remove(session_id)
        self._openings.closed(session_id)
        place.gone = True
        for watch in place.watches.values():
            watch.stop("deleted")
        busy = place.pending > 0
        freed = self._follow(self._free(place))
        if not busy:
            await freed

    def census(self) -> Census:
        """See ``Host.census``."""
        return Census(len(self._places), 0, self._queue_of_all.total, 0, sum(place.lag for place in self._places.values()))

    def list(self, tenant: str, after: int, limit: int) -> tuple[list[Resident], int | None]:
        """See ``Host.list``."""
        now = time.monotonic()
        # Numbers grow with insertion, so the dictionary is in order.
        page = [p for p in self._places.values() if p.number > after and p.tenant == tenant]
        found = [Resident(p.id, p.created, 0.0 if p.pending else now - p.used) for p in page[:limit]]
        return found, page[limit - 1].number if len(page) > limit else None

    # How -------------------------------------------------------------------------------------------------------------------

    async def _watch_journal(self, journal: Journal) -> None:
        """Know whether the journal can be used, and stop working where it is another server's now."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            checked = asyncio.ensure_future(asyncio.to_thread(journal.check))
            if not (await asyncio.wait({checked}, timeout=_PATIENCE_SECONDS))[0]:
                self._note_trouble("the journal does not answer")
            try:
                await checked
                while self._undeleted:
                    await asyncio.to_thread(journal.delete, self._undeleted[-1])
                    self._undeleted.pop()
            except StorageError as error:
                self._note_trouble(error.detail)
            except UnavailableError as error:
                self._taken = True
                self._note_trouble(error.detail)
            else:
                self._taken = False
                self._note_trouble(None)

    def _note_trouble(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            log.log(logging.WARNING if trouble else logging.INFO, "journal: %s", trouble or "it can be used again")
        self.trouble = trouble

    def _check_ready(self) -> None:
        if self._taken:
            raise UnavailableError(f"{self.trouble}")
        if self.state != "ready":
            raise UnavailableError(f"the server is {self.state}; try again later")

    def _find(self, session_id: str, tenant: str | None = None) -> Place[R]:
        """The place of a session; with ``tenant``, only of one of his. Raises NotFoundError."""
        place = self._places.get(session_id)
        if place is None or (tenant is not None and place.tenant != tenant):
            raise NotFoundError("there is no such session; it may have been deleted, or closed after its idle time")
        return place

    def _gone(self, place: Place[R]) -> TelegradError:  # noqa: ARG002 - subclasses know of other ways to go
        """The error for a request whose session went while it waited."""
        return NotFoundError("the session was deleted before this request's turn came")

    def _follow(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run on even if the caller is cancelled: what computes cannot be, and the next in line must not start beside it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return asyncio.shield(task)

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left to wait

    def _queue(self, place: Place[R], work: Work, watch: Watch | None = None) -> asyncio.Future[Answer]:
        # Counted here, not when the task first runs: a burst must not slip past the bound.
        place.pending += 1
        self._queue_of_all.join(place.tenant)
        if work.key:
            place.keys.add(work.key)
        if self._keeping.is_durable:
            work.turn = secrets.token_hex(8)
        return self._follow(self._turn(place, work, watch))

    async def _turn(self, place: Place[R], work: Work, watch: Watch | None) -> Answer:
        waiting = True
        queued = time.perf_counter()
        try:
            async with place.lock:
                self._queue_of_all.leave(place.tenant)
                waiting = False
                if place.gone:
                    raise self._gone(place)
                if place.resident is None:
                    place.resident = await self._settle(place, work)
                if watch is not None:  # one that came again is on its own now
                    watch.origin = None
                    place.watches.setdefault(watch.id, watch)
                return await self._have_done(place, place.resident, work, watch, queued)
        finally:
            place.forget(watch)
            place.keys.discard(work.key)
            if waiting:
                self._queue_of_all.leave(place.tenant)
            place.pending -= 1
            place.used = time.monotonic()
            if place.resident is not None and not place.gone and self._is_restless(place.resident):
                self._follow(self._settle_down(place))

    async def _have_done(self, place: Place[R], resident: R, work: Work, watch: Watch | None, queued: float) -> Answer:
        """Do the work, which came at ``queued``, and note how it went."""
        begun = time.perf_counter()
        try:
            allowance = self.ledger.begin(place.id)
            if allowance is None:
                answer = await self._perform(resident, work, watch)
            else:
                answer = await self._within(allowance, place, resident, work, watch)
        finally:
            if work.did is not None:
                work.did.wait_seconds = begun - queued
                work.did.session_seconds = time.perf_counter() - begun
                work.did.commands, work.did.journal_seconds = self._done(resident)
        place.note(answer)
        return answer

    async def _within(self, allowance: Allowance, place: Place[R], resident: R, work: Work, watch: Watch | None) -> Answer:
        """Do the work with what its tenant has left, and note what the session holds then."""
        report = None
        try:
            work.allowance = allowance
            answer = await self._perform(resident, work, watch)
            report = self._report(resident)
        except TelegradError:
            report = self._report(resident)
            raise
        finally:
            self.ledger.end(place.id, report)
        return answer

    async def _count_again(self, session_id: str) -> None:
        """Let a session count what it holds; one that slept sleeps on."""
        place = self._places.get(session_id)
        if place is None or place.pending:
            return
        slept = place.resident is None
        try:
            await self._queue(place, Work("summary"))
        except TelegradError:
            self.ledger.holds_nothing(session_id)  # it cannot be brought back
        if slept:
            await self._hibernate(place)

    def _remove(self, session_id: str) -> Place[R] | None:
        """The session is none any more; its place, if it had one."""
        self.ledger.forget(session_id)
        return self._places.pop(session_id, None)

    async def _settle_down(self, place: Place[R]) -> None:
        async with place.lock:
            if place.resident is not None and not place.gone:
                await self._rest(place.resident)

    async def _hibernate(self, place: Place[R]) -> None:
        async with place.lock:
            if place.resident is not None and not place.gone and not place.pending:
                await self._put_to_sleep(place.resident)
                place.resident = None

    async def _free(self, place: Place[R]) -> None:
        async with place.lock:
            if place.resident is not None:
                await self._vacate(place.resident)
                place.resident = None
            if self._journal is not None:
                try:
                    await asyncio.to_thread(self._journal.delete, place.kept)
                except StorageError:
                    self._undeleted.append(place.kept)  # it is not to come back with the next server
                    raise

    async def _reap(self) -> None:
        idle_seconds = self.limits.idle_seconds
        low, high = _REAP_SECONDS
        while True:
            await asyncio.sleep(min(max(idle_seconds / 10, low), high))
            self._openings.forget_old()
            now = time.monotonic()
            idle = [p for p in self._places.values() if not p.pending and now - p.used > idle_seconds]
            for place in idle:
                if place.id not in self._places:
                    continue
                try:
                    if not self._keeping.is_durable or now - place.used > self._keeping.retention_seconds:
                        await self.close(place.id)
                    elif place.resident is not None:
                        await self._hibernate(place)
                except TelegradError as error:  # of this session: the others are to leave all the same
                    log.error("session %s: %s", place.id, error.detail)  # noqa: TRY400 - it tells what happened
