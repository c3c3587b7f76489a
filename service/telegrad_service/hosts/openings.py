"""What came of requests that open a session under an Idempotency-Key: a late repeat opens no other, though the session was deleted.

Any other key is remembered by its session. This one has to outlive it, so that the host knows it, for each tenant apart. It is on
the disk before the session is: a server that is killed in between finds the id that the session was to have.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from telegrad.contract.errors import KeyReusedError, NotFoundError, StorageError, UnavailableError
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.once import REPLAYED, answer_of, fingerprint, read_answer, written
from telegrad_service.journal.base import Journal

log = logging.getLogger("telegrad.service")

ID_BYTES: Final = 16
"""Random bytes of a session id: 128 bits, so that none can be guessed."""

_MOST_KEYS: Final = 10_000
"""Of a tenant: beyond that his oldest are forgotten before their time."""

_PREFIX: Final = "opening/"


def new_id() -> str:
    """An id for a session."""
    return secrets.token_urlsafe(ID_BYTES)


class Opening:
    """One request that opens a session.

    Attributes:
        tenant, key: whose, and under which key.
        session_id: that the session has, or will have.
        mark: the request's fingerprint.
        at: when it came, in seconds since 1970.
        answer: that was given; None until then.
    """

    __slots__ = ("answer", "at", "key", "mark", "session_id", "tenant")

    def __init__(self, tenant: str, key: str, session_id: str, mark: str, at: float, answer: Answer | None = None) -> None:
        self.tenant, self.key, self.session_id = tenant, key, session_id
        self.mark, self.at, self.answer = mark, at, answer

    def again(self) -> Answer | None:
        """The first answer, marked as given before; None where there is none yet."""
        return None if self.answer is None else self.answer._replace(headers=(*self.answer.headers, REPLAYED))

    def as_text(self) -> str:
        """For a journal's notes."""
        return json.dumps([self.tenant, self.key, self.session_id, self.mark, self.at, written(self.answer)])

    @classmethod
    def of_text(cls, text: str) -> Opening:
        """What ``as_text`` gave."""
        tenant, key, session_id, mark, at, answer = json.loads(text)
        return cls(tenant, key, session_id, mark, at, read_answer(answer))


class Openings:
    """See the module. Used on the event loop; what it knows is written by one thread, in order."""

    def __init__(self, key_seconds: float) -> None:
        """Remember each for so long."""
        self._key_seconds = key_seconds
        self._of: dict[str, OrderedDict[str, Opening]] = {}
        self._by_id: dict[str, Opening] = {}
        self._journal: Journal | None = None
        self._writer: ThreadPoolExecutor | None = None

    def keep_in(self, journal: Journal) -> None:
        """Write down what is to come, and know what was written down before. Raises StorageError."""
        self._journal = journal
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="telegrad-openings")
        for opening in sorted(map(Opening.of_text, journal.notes(_PREFIX)), key=lambda o: o.at):
            self._add(opening)
        self.forget_old()

    def close(self) -> None:
        """Wait until all is written."""
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = self._journal = None

    def find(self, work: Work, tenant: str) -> Opening | None:
        """What is known of the request; None for one that is new. Raises KeyReusedError for another one under its key."""
        self.forget_old()
        known = self._of.get(tenant)
        found = None if known is None else known.get(work.key)
        if found is not None and found.mark != fingerprint(work):
            raise KeyReusedError("another request was sent under this Idempotency-Key; choose a new key for a new request")
        return found

    def begin(self, work: Work, tenant: str) -> Opening:
        """A new one; ``keep`` it before its session is made."""
        return self._add(Opening(tenant, work.key, new_id(), fingerprint(work), time.time()))

    async def keep(self, opening: Opening) -> None:
        """Put it on the disk, where sessions are there. Raises StorageError."""
        written_down = self._write(opening)
        if written_down is not None:
            await asyncio.wrap_future(written_down)

    def answered(self, opening: Opening, answer: Answer) -> None:
        """It was answered so."""
        if opening.answer is None:
            opening.answer = answer
            self._write_soon(opening)

    def closed(self, session_id: str) -> None:
        """The session has ended. Where nobody knows what was answered, that is the answer from now on."""
        opening = self._by_id.get(session_id)
        if opening is not None and opening.answer is None:
            gone = NotFoundError("the session that was opened under this Idempotency-Key was deleted")
            self.answered(opening, answer_of(gone, ""))

    def forget(self, opening: Opening) -> None:
        """No session came of it: when it comes again it is done anew."""
        known = self._of.get(opening.tenant)
        if known is not None and known.get(opening.key) is opening:
            del known[opening.key]
            if not known:
                del self._of[opening.tenant]
        self._by_id.pop(opening.session_id, None)
        self._write_soon(opening, forget=True)

    def forget_old(self) -> None:
        """Forget what is too old, and the oldest where a tenant has too many."""
        before = time.time() - self._key_seconds
        for known in list(self._of.values()):
            while known:
                oldest = next(iter(known.values()))
                if oldest.at >= before and len(known) <= _MOST_KEYS:
                    break
                self.forget(oldest)

    def _add(self, opening: Opening) -> Opening:
        self._of.setdefault(opening.tenant, OrderedDict())[opening.key] = opening
        self._by_id[opening.session_id] = opening
        return opening

    def _write(self, opening: Opening, *, forget: bool = False) -> Future[None] | None:
        if self._writer is None or self._journal is None:
            return None
        text = None if forget else opening.as_text()
        return self._writer.submit(self._journal.note, _PREFIX + opening.session_id, text)

    def _write_soon(self, opening: Opening, *, forget: bool = False) -> None:
        """Nobody waits for this: what is lost of it the session itself still knows."""
        done = self._write(opening, forget=forget)
        if done is not None:
            done.add_done_callback(_say_what_failed)


def _say_what_failed(done: Future[None]) -> None:
    error = done.exception()
    if isinstance(error, (StorageError, UnavailableError)):
        log.warning("what came of an Idempotency-Key could not be written down: %s", error.detail)
    elif error is not None:
        log.error("what came of an Idempotency-Key could not be written down", exc_info=error)
