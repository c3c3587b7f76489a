"""A process for each session: what one does cannot slow, crash or read another, and what takes too long is ended.

numpy cannot be interrupted from inside; a process can be bounded in memory and killed at a deadline. The server's own process
only passes bytes on: requests are parsed and checked where the session lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from telegrad.contract.errors import (
    DeadlineError,
    InternalError,
    LimitError,
    NotFoundError,
    SessionLostError,
    TelegradError,
    UnavailableError,
)
from telegrad.contract.limits import Limits
from telegrad_service.hosts import shared
from telegrad_service.hosts.base import Answer, Array, Census, Work
from telegrad_service.hosts.connection import Connection, Found, WorkerGone
from telegrad_service.hosts.deadline import Deadline
from telegrad_service.hosts.keeping import ANY, Drop, Keeping
from telegrad_service.hosts.nursery import CAN_FORK, Forking, Nursery, Spawning
from telegrad_service.hosts.place import Place
from telegrad_service.hosts.queueing import QueueingHost
from telegrad_service.journal.base import Kept
from telegrad_service.logs import Log
from telegrad_service.session.account import Report
from telegrad_service.session.watch import News, Watch

log = logging.getLogger("telegrad.service")

_MOST_DEATHS: Final = 3
"""After so many processes that ended while they brought a session back, the last request is taken for the cause."""

_MOST_TRIES: Final = 5
"""After so many processes that ended while they did one and the same request, it is told not to come again."""

_KILL_SECONDS: Final = 5.0
"""Until a process that was killed is taken to be gone, whatever holds it."""

_SMALL_BYTES: Final = 16 * 1024
"""A request of so many bytes is handed to the system in one call, without waiting for room."""

_REMEMBERED: Final = 10_000
"""Lost sessions that are remembered, so that their users learn what happened."""


class _Lost(NamedTuple):
    """A session that was lost: whose it was, and what to tell him."""

    tenant: str
    what: str


@dataclass(slots=True, eq=False)
class Worker:
    """A session's process.

    Attributes:
        session_id: of the session that lives there.
        pid: of the process.
        connection: to it.
        deadline: of the request that it does.
        overdue: whether it was ended because a request took too long.
        let_go: whether the connection was closed from here.
        lost: whether it ended while it was needed.
        answered: whether it has answered a request: then its session was there.
    """

    session_id: str
    pid: int
    connection: Connection
    deadline: Deadline
    overdue: bool = False
    let_go: bool = False
    lost: bool = False
    answered: bool = False


class ProcessHost(QueueingHost[Worker]):
    """See ``Host``."""

    def __init__(
        self,
        limits: Limits,
        *,
        max_waiting_requests: int,
        request_seconds: float,
        tune: bool = True,
        fork: bool = CAN_FORK,
        keeping: Keeping | None = None,
        lines: Log | None = None,
    ) -> None:
        """Prepare a host whose sessions have these limits.

        Args:
            limits: of each session; ``max_session_bytes`` also bounds the memory of its process.
            max_waiting_requests: requests that may wait for their session's turn.
            request_seconds: a request that takes longer without news is given up, and its session's process ended.
            tune: whether the processes are tuned for computing, see ``telegrad_service.process``.
            fork: whether workers are forked from a warm helper; else each is started anew.
            keeping: how sessions are kept; None: nowhere.
            lines: what the processes log; None: warnings, as Python writes them.
        """
        super().__init__(limits, max_waiting_requests=max_waiting_requests, keeping=keeping)
        self._request_seconds = request_seconds
        self.takes_uploads = shared.CAN_SHARE
        nursery = Forking if fork else Spawning
        self._nursery: Nursery = nursery(limits, self._keeping, tune=tune, lines=lines, ended=self._ended)
        self._workers: dict[int, Worker] = {}
        self._barren: str | None = None
        self._one_ended = asyncio.Event()
        self._lost: OrderedDict[str, _Lost] = OrderedDict()
        self._lost_count = 0

    async def start(self) -> None:
        """See ``Host.start``. The journal comes first: what is wrong with it is said here, not by a helper that cannot start."""
        await super().start()
        try:
            await self._nursery.start()
        except BaseException:
            await super().stop(0)
            self._end()
            raise

    async def stop(self, drain_seconds: float) -> int:
        """See ``Host.stop``. What has not ended by then is ended."""
        stop_by = time.monotonic() + drain_seconds
        unfinished = await super().stop(drain_seconds)
        await self._wait_for(lambda: not self._workers, max(0.0, stop_by - time.monotonic()))  # they write their last snapshots
        await self._nursery.stop()
        self._end()
        return unfinished

    def census(self) -> Census:
        """See ``Host.census``."""
        return super().census()._replace(workers=len(self._workers), lost=self._lost_count)

    async def hindrance(self) -> str | None:
        """See ``Host.hindrance``. Where the last process could not be made, another is tried, which ends at once."""
        if self._barren is not None:
            try:
                _, end = await self._nursery.make(Kept("", 0.0))
                end.close()
                self._barren = None
            except (TelegradError, OSError):
                return self._barren
        return await super().hindrance()

    async def _settle(self, place: Place[Worker], work: Work) -> Worker:  # noqa: ARG002 - the process sees it
        drop = Drop(ANY) if place.deaths >= _MOST_DEATHS else place.drop
        try:
            pid, end = await self._nursery.make(place.kept, drop)
        except (TelegradError, OSError):
            self._barren = "no process for a session could be made; the server's log says why"
            raise
        self._barren = None
        place.drop = None
        connection = await Connection.over(end, self._request_seconds)
        deadline = Deadline(self._request_seconds, lambda: self._overdue(worker))
        worker = Worker(place.id, pid, connection, deadline)
        if self._nursery.is_alive(pid):  # its end may have been told already
            self._workers[pid] = worker
        return worker

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """See ``Host.allocate``."""
        return shared.allocate(shape, dtype)

    async def _perform(self, resident: Worker, work: Work, watch: Watch | None) -> Answer:
        await resident.connection.idle()  # a large answer may still be on its way to somebody
        resident.deadline.set()
        try:
            found = await resident.connection.ask(
                work, watch, _heard(resident, watch), functools.partial(self.ledger.ask, resident.session_id)
            )
        finally:
            resident.deadline.cancel()
        outcome = self._outcome(resident, work, found)
        if isinstance(outcome, Answer):
            return outcome
        raise outcome

    def _can_begin(self, resident: Worker, work: Work) -> bool:
        has_arrays = work.buffers or work.upload is not None
        return not has_arrays and len(work.body) <= _SMALL_BYTES and resident.connection.is_free

    def _begin(self, resident: Worker, work: Work, watch: Watch | None, ended: Callable[[Answer | Exception], object]) -> None:
        resident.deadline.set()

        def deliver(found: Found) -> None:
            resident.deadline.cancel()
            if watch is not None:
                watch.never_mind()
            ended(self._outcome(resident, work, found))

        resident.connection.begin(work, watch, deliver, _heard(resident, watch))

    def _outcome(self, resident: Worker, work: Work, found: Found) -> Answer | TelegradError:
        """What came of a request, from what came of it over the connection."""
        if isinstance(found, WorkerGone):
            return self._lose(resident, work)
        if not resident.answered:
            resident.answered = True
            place = self._places.get(resident.session_id)
            if place is not None:  # it may have been deleted meanwhile
                place.deaths = 0
        if isinstance(found, (Answer, TelegradError)):
            return found
        log.error("request %s failed by a fault of telegrad's own in its session's process\n%s", work.request_id, found.text)
        return InternalError("telegrad failed by a fault of its own; the server's log tells more under this request_id")

    def _done(self, resident: Worker) -> tuple[Mapping[str, int], float]:
        return resident.connection.done

    def _report(self, resident: Worker) -> Report | None:
        return resident.connection.report

    async def _vacate(self, resident: Worker) -> None:
        await resident.connection.idle()
        resident.let_go = True
        # Hung up on it would write a last snapshot, of what is being deleted.
        self._nursery.kill(resident.pid)
        await self._wait_for(lambda: resident.pid not in self._workers, _KILL_SECONDS)
        self._let_go(resident)

    async def _put_to_sleep(self, resident: Worker) -> None:
        await resident.connection.idle()
        self._let_go(resident)
        deadline = asyncio.get_running_loop().call_later(self._request_seconds, self._nursery.kill, resident.pid)
        await self._wait_for(lambda: resident.pid not in self._workers, None)
        deadline.cancel()

    async def _wait_for(self, condition: Callable[[], bool], seconds: float | None) -> None:
        """Wait for some processes to end, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    self._one_ended.clear()
                    await self._one_ended.wait()

    def _abandon(self, resident: Worker, *, busy: bool) -> None:
        self._let_go(resident)
        if busy:
            self._nursery.kill(resident.pid)

    def _find(self, session_id: str, tenant: str | None = None) -> Place[Worker]:
        try:
            return super()._find(session_id, tenant)
        except NotFoundError:
            lost = self._lost.get(session_id)
            if lost is None or (tenant is not None and lost.tenant != tenant):
                raise
            raise SessionLostError(lost.what) from None

    def _gone(self, place: Place[Worker]) -> TelegradError:
        lost = self._lost.get(place.id)
        return super()._gone(place) if lost is None else SessionLostError(lost.what)

    def _let_go(self, worker: Worker) -> None:
        """Hang up; the process ends when it has nothing to do."""
        worker.let_go = True
        worker.deadline.close()
        worker.connection.close()

    def _overdue(self, worker: Worker) -> None:
        worker.overdue = True
        self._nursery.kill(worker.pid)

    def _lose(self, worker: Worker, work: Work | None = None) -> TelegradError:
        """The session of a process that has ended is gone, or sleeps in its journal; the error for the request that was there."""
        self._let_go(worker)
        worker.lost = True
        if self._keeping.is_durable:
            return self._send_to_sleep(worker, work)
        reason = "a request took too long and was ended" if worker.overdue else "its process ended unexpectedly"
        place = self._remove(worker.session_id)
        if place is not None:
            self._remember(place, f"the session was lost: {reason}. Open a new one")
            place.gone, place.resident = True, None
        if worker.overdue:
            return DeadlineError(
                f"the request took longer than {self._request_seconds:g} seconds (request_seconds) and was ended, and its session "
                "with it; open a new one, and send less at once"
            )
        return SessionLostError("the session's process ended unexpectedly, and the session with it; open a new one")

    def _send_to_sleep(self, worker: Worker, work: Work | None) -> TelegradError:
        place = self._places.get(worker.session_id)
        times = 0
        # None: its end was noticed before its silence.
        if place is not None and place.resident in (worker, None):
            place.deaths += place.resident is worker and not worker.answered
            place.resident = None
            if work is not None:
                place.drop = Drop(work.turn, worker.overdue)
                times = place.note_fatal(work)
        if worker.overdue:
            return DeadlineError(
                f"the request took longer than {self._request_seconds:g} seconds (request_seconds) and was ended; nothing of it "
                "was done. The session is as it was before; send less at once"
            )
        if times >= _MOST_TRIES:
            return LimitError(
                f"the session's process ended {times} times in a row while it did this request, most likely for want of memory; "
                "nothing of it was done, and the session is as it was before. Send less at once"
            )
        return UnavailableError(
            "the session's process ended unexpectedly; the session is brought back as it was, without this request. Send it again",
            extra={"retry_after_seconds": 0},
        )

    def _remember(self, place: Place[Worker], what: str) -> None:
        self._lost_count += 1
        self._lost[place.id] = _Lost(place.tenant, what)
        while len(self._lost) > _REMEMBERED:
            self._lost.popitem(last=False)

    def _ended(self, pid: int, status: int) -> None:
        """A process has ended, perhaps while no request was there to notice."""
        worker = self._workers.pop(pid, None)
        self._one_ended.set()
        if worker is None:
            return
        if worker.lost or not worker.let_go:
            log.warning("the process %d of a session ended with status %d", pid, status)
        if not worker.let_go:
            self._lose(worker)


def _heard(worker: Worker, watch: Watch | None) -> Callable[[News], object]:
    """What is to be done with news of a request."""

    def hear(news: News) -> None:
        worker.deadline.set()
        if watch is not None:
            watch.tell(news)

    return hear
