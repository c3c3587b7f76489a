"""What every host offers, and the plain data that goes in and out: nothing here depends on where a session lives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from telegrad.contract.codec import JSON_MEDIA_TYPE
from telegrad.contract.limits import Limits
from telegrad_service.hosts.ledger import Ledger
from telegrad_service.hosts.lending import Upload
from telegrad_service.hosts.streams import Borrowed, Stream
from telegrad_service.session.account import Allowance
from telegrad_service.session.watch import Watch

if TYPE_CHECKING:
    from telegrad_service.session.haste import TooLongError

Array = npt.NDArray[Any]

State = Literal["starting", "ready", "draining", "stopped"]


@dataclass(slots=True)
class Did:
    """How a request went, for whoever looks from outside; filled in where it is done.

    Attributes:
        commands: how many of each kind.
        wait_seconds: until its turn came, the session's coming back included.
        session_seconds: that its session took.
        journal_seconds: of these, waiting for the journal.
    """

    commands: Mapping[str, int] = field(default_factory=dict[str, int])
    wait_seconds: float = 0.0
    session_seconds: float = 0.0
    journal_seconds: float = 0.0


@dataclass(slots=True)
class Work:
    """One request to a session, as data that could cross to another process.

    Attributes:
        verb: what to do: a name of ``verbs.VERBS``.
        body: the JSON text as it came; parsed where the session lives. Empty where the request has none.
        arguments: what path and query said, checked.
        buffers: arrays that came in binary form, by name; they become the session's own.
        upload: in their place, arrays that whoever has the session receives himself.
        media_type: the form of the answer that was negotiated.
        request_id: for problems made where the session lives, and for logs.
        client, number: who numbers this request, and its number; 0 where it has none.
        key: its Idempotency-Key; empty where it has none.
        turn: tells it from all other requests, where the session outlives its process.
        allowance: what the session may hold meanwhile; None: all that its limits permit.
        did: takes how it went; stays in the server's process.
        stopped: why it is to stop before it begins, on its way to another process; empty where it is not.
        paused: what says how to go on, where it began and is not done; stays in the server's process.
    """

    verb: str
    body: bytes = b""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    buffers: Mapping[str, Array] = field(default_factory=dict[str, Array])
    media_type: str = JSON_MEDIA_TYPE
    request_id: str = ""
    client: str = ""
    number: int = 0
    key: str = ""
    turn: str = ""
    allowance: Allowance | None = None
    did: Did | None = field(default=None, compare=False)
    upload: Upload | None = field(default=None, compare=False)
    stopped: str = field(default="", compare=False)
    paused: TooLongError | None = field(default=None, compare=False)

    @property
    def repeats(self) -> tuple[str, int, str] | None:
        """What tells a request that may be sent again from others; None for one that may not."""
        return (self.client, self.number, self.key) if self.number or self.key else None


def copied(piece: memoryview) -> bytes | memoryview:
    """The same bytes elsewhere. numpy copies without holding up other threads, bytes would not."""
    return np.frombuffer(piece, np.uint8).copy().data if len(piece) else b""


class Answer(NamedTuple):
    """What came of it, ready to be sent.

    Attributes:
        pieces: the body, in pieces. What a session made may be its own memory, which its next work may change; what a host gives
            out nobody changes any more.
        media_type: of the body; None where there is none.
        status: HTTP status.
        created: name of the one thing that was made, for its address.
        stream: the body in place of ``pieces``, where it is large: on its way here, or in the session's memory.
        stream_bytes: how long that is.
        headers: further ones, names and values.
    """

    pieces: tuple[bytes | memoryview, ...] = ()
    media_type: str | None = None
    status: int = 200
    created: str | None = None
    stream: Stream | Borrowed | None = None
    stream_bytes: int = 0
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the body."""
        return sum(len(piece) for piece in self.pieces) + self.stream_bytes

    def owned(self) -> Answer:
        """The same in memory of its own."""
        if len(self.pieces) == 1 and self.pieces[0].__class__ is bytes:  # as almost always
            return self
        return self._replace(pieces=tuple([p if isinstance(p, bytes) else copied(p) for p in self.pieces]))

    async def whole(self) -> bytes:
        """The body as one. Raises StalledError where it will not come."""
        if self.stream is None:
            return b"".join(self.pieces)
        return b"".join([piece async for piece in self.stream])


class Resident(NamedTuple):
    """A session as its host sees it, without asking the session.

    Attributes:
        id: its id.
        created: seconds since 1970.
        idle_seconds: since its last request ended; 0 while one runs or waits.
    """

    id: str
    created: float
    idle_seconds: float


class Census(NamedTuple):
    """What there is in a host now.

    Attributes:
        sessions: that are open.
        workers: processes of sessions that are alive.
        waiting: requests that wait for their session's turn.
        lost: sessions, since the start, whose process ended while it was needed.
        lag: changes that were answered and were not known to be on the disk then, of all sessions.
    """

    sessions: int
    workers: int
    waiting: int
    lost: int
    lag: int = 0


class Host(ABC):
    """Keeps sessions, and lets each do one thing at a time in the order of arrival."""

    limits: Limits
    state: State
    ledger: Ledger
    trouble: str | None = None
    """Why changes of sessions cannot be kept for the moment, where they are to be."""
    takes_uploads: bool = False
    """Whether work may come with an ``upload``."""

    async def hindrance(self) -> str | None:
        """Why no work would succeed now although the host is ready, as far as it knows."""
        return self.trouble

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Memory for an array that will be part of some work. Raises MemoryError."""
        return np.empty(shape, dtype)

    @abstractmethod
    async def start(self) -> None:
        """Begin to accept work."""

    @abstractmethod
    def drain(self) -> None:
        """Refuse new work from now on, and let runs of programs stop after the one they are in; what has begun goes on."""

    @abstractmethod
    async def stop(self, drain_seconds: float) -> int:
        """``drain``, wait for what runs at most so long, and close every session.

        Returns:
            how many computations had not ended by then; they cannot be interrupted.
        """

    @abstractmethod
    async def open(self, work: Work, tenant: str = "") -> Answer:
        """Make a session of that tenant.

        Raises LimitError where there are too many, UnavailableError where the host takes no work.
        """

    @abstractmethod
    def require(self, session_id: str, tenant: str) -> None:
        """Raise NotFoundError where that tenant has no such session, before anything is read for it.

        Another tenant's session is in no way told from one that does not exist.
        """

    @abstractmethod
    async def do(self, session_id: str, work: Work, watch: Watch | None = None) -> Answer:
        """Do something with a session when its turn comes. What has begun is finished even if the caller goes away.

        Args:
            session_id: the session.
            work: what to do.
            watch: who follows it, and may stop it: runs of a program stop between two of them. Its ``tell`` may be called in any
                thread. Others find it with ``watches`` until the work is done.

        Raises:
            NotFoundError: no such session.
            ConflictError: the session does something already under the id of ``watch``.
            UnavailableError: the host takes no work now.
            TelegradError: what the work itself raises; the session is as it was.
        """

    @abstractmethod
    def watches(self, session_id: str) -> Mapping[str, Watch]:
        """What the session does or is to do that can be stopped, by id, in order of arrival. Raises NotFoundError."""

    @abstractmethod
    async def close(self, session_id: str) -> None:
        """Forget a session at once; what it computes now is finished first, then everything is freed. Raises NotFoundError."""

    @abstractmethod
    def census(self) -> Census:
        """What there is in the host now."""

    @abstractmethod
    def list(self, tenant: str, after: int, limit: int) -> tuple[list[Resident], int | None]:
        """Up to ``limit`` sessions of that tenant, oldest first, from the cursor ``after`` on; and the next page's cursor."""
