"""A session as its host knows it, whether it is in memory or not."""

from __future__ import annotations

import asyncio
import time
from typing import Generic, TypeVar

from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.keeping import Drop
from telegrad_service.journal.base import Kept
from telegrad_service.session.watch import Watch

R = TypeVar("R")
"""What a session is to its host: the session itself, or the process that has it."""


class Place(Generic[R]):
    """A session and its queue: an asyncio lock wakes those who wait in the order of arrival.

    Attributes:
        kept: the session's id, the moment of its making, and whose it is.
        number: grows from session to session.
        resident: the session as its host has it; None until its first turn.
        lock: held by whoever has his turn.
        pending: requests that run or wait.
        gone: whether it was deleted.
        used: when its last request ended, on the monotonic clock.
        watches: of requests that run or wait and can be stopped, by id.
        keys: the Idempotency-Keys of those.
        drop: a request that ended its process.
        deaths: how many processes ended, one after the other, before the session was back.
        lag: how many changes were not on the disk yet when it last answered.
        fatal: the last request that may be sent again and ended a process, and how many it ended.
    """

    __slots__ = (
        "deaths",
        "drop",
        "fatal",
        "gone",
        "kept",
        "keys",
        "lag",
        "lock",
        "number",
        "pending",
        "resident",
        "used",
        "watches",
    )

    def __init__(self, number: int, kept: Kept) -> None:
        self.kept = kept
        self.number = number
        self.resident: R | None = None
        self.lock = asyncio.Lock()
        self.pending = 0
        self.gone = False
        self.used = time.monotonic()
        self.watches: dict[str, Watch] = {}
        self.keys: set[str] = set()
        self.drop: Drop | None = None
        self.deaths = 0
        self.lag = 0
        self.fatal: tuple[tuple[str, int, str] | None, int] = (None, 0)

    def note(self, answer: Answer) -> None:
        """The session answered so."""
        numbers = dict(answer.headers) if answer.headers else {}
        durable = numbers.get("Telegrad-Durable-Seq")
        self.lag = 0 if durable is None else int(numbers["Telegrad-Seq"]) - int(durable)

    def forget(self, watch: Watch | None) -> None:
        """The request that is watched so, if it is, has ended."""
        if watch is not None and self.watches.get(watch.id) is watch:
            del self.watches[watch.id]

    def note_fatal(self, work: Work) -> int:
        """This request has ended a process: how many times in a row, where it may be sent again."""
        request, times = self.fatal
        again = work.repeats is not None and work.repeats == request
        self.fatal = work.repeats, times + 1 if again else 1
        return self.fatal[1]

    @property
    def id(self) -> str:
        """Of the session."""
        return self.kept.id

    @property
    def created(self) -> float:
        """Seconds since 1970."""
        return self.kept.created

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.kept.tenant
