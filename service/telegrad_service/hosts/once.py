"""Every request at most once: a repeat gets the first answer, by the numbers of a client or by an Idempotency-Key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from telegrad.contract import codec
from telegrad.contract.errors import (
    DeadlineError,
    KeyReusedError,
    LimitError,
    QuotaError,
    RateLimitError,
    RunCancelledError,
    SequenceError,
    StorageError,
    TelegradError,
    UnavailableError,
)
from telegrad_service.hosts.base import Answer, Work
from telegrad_service.hosts.sums import Arrived, sums_of

REPLAYED: Final = ("Idempotency-Replayed", "true")
"""The header of an answer that was given before."""

ANSWERS_OF_A_CLIENT: Final = 4
"""A client sends the next batch when it has the answer to the one before, so one would do."""

_MOST_CLIENTS: Final = 4096
_MOST_KEYS: Final = 10_000
_MOST_BYTES: Final = 64 * 2**20
"""Answers kept under keys, and as many again under numbers: beyond that the oldest are forgotten before their time."""

_SHORT_BYTES: Final = 4096
"""A body that is kept as it is, because to hash it takes longer than to keep it."""

QUOTAS: Final = (QuotaError.code, RateLimitError.code)
"""What a tenant has and does elsewhere decides about these, so that doing it again may end otherwise."""


class Done(NamedTuple):
    """What came of a request.

    Attributes:
        of: the request's fingerprint, or the request itself where it is short.
        answer: that was given; None where it is forgotten.
        at: when, in seconds since 1970.
        nbytes: of the answer.
    """

    of: str | Work
    answer: Answer | None
    at: float
    nbytes: int

    @property
    def fingerprint(self) -> str:
        """Of the request."""
        return self.of if isinstance(self.of, str) else fingerprint(self.of)

    def again(self) -> Answer | None:
        """The answer, marked as given before."""
        return None if self.answer is None else self.answer._replace(headers=(*self.answer.headers, REPLAYED))


def fingerprint(work: Work) -> str:
    """Tells requests apart that were sent under the same number or key."""
    text = json.dumps([work.verb, sorted(work.arguments.items()), work.media_type], default=str).encode()
    found = hashlib.blake2b(text + b"\0" + work.body, digest_size=16)
    known = work.buffers.sums if isinstance(work.buffers, Arrived) else {}
    for name, array in work.buffers.items():
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(known.get(name) or sums_of(array))
    return found.hexdigest()


def mark_of(work: Work) -> str | Work:
    """What ``Once.remember`` takes to recognise a request that it is done with: the request, or its fingerprint if it is long."""
    return work if len(work.body) <= _SHORT_BYTES and not work.buffers else fingerprint(work)


def answer_of(error: TelegradError, request_id: str) -> Answer:
    """An error as the answer that it becomes."""
    problem = {**error.problem(), "request_id": request_id}
    return Answer((codec.dump_json(problem),), codec.PROBLEM_MEDIA_TYPE, error.status)


def is_final(error: TelegradError) -> bool:
    """Whether the request was done, as far as it will ever be; otherwise a repeat is done anew."""
    if isinstance(error, QuotaError):
        return bool(error.extra.get("applied") or error.extra.get("run"))  # a part of it stands
    return not isinstance(error, (StorageError, UnavailableError))


def _out_of_order(what: str, last: int, *, taken: bool = False) -> SequenceError:
    return SequenceError(f"{what}: the client's next number is {last + 1}", extra={"expected": last + 1, "taken": taken})


def problem_in(answer: Answer) -> dict[str, Any] | None:
    """The problem that an answer tells of: a batch's, which says what stands."""
    if answer.media_type != codec.PROBLEM_MEDIA_TYPE:
        return None
    found: dict[str, Any] = json.loads(b"".join(answer.pieces))
    return found


def stands(problem: dict[str, Any]) -> bool:
    """Whether a part of what was asked for was done."""
    return bool(problem.get("applied") or problem.get("run"))


def is_fleeting(problem: dict[str, Any] | None) -> bool:
    """Whether doing it again might end otherwise: the clock, somebody's wish, or the machine's memory ended it."""
    if problem is None:
        return False
    code = str(problem["type"]).rpartition(":")[2]
    return code in (DeadlineError.code, RunCancelledError.code, *QUOTAS) or (code == LimitError.code and "limit" not in problem)


class _Client:
    """What came of the last requests of one client: by number, the newest last."""

    __slots__ = ("done", "last")

    def __init__(self) -> None:
        self.last = 0
        self.done: OrderedDict[int, Done] = OrderedDict()


class Once:
    """The last answers of one session."""

    def __init__(self, key_seconds: float) -> None:
        """Remember what came of keys for so long."""
        self._key_seconds = key_seconds
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._keys: OrderedDict[str, Done] = OrderedDict()
        self._nbytes = 0
        self._numbered_nbytes = 0

    def expect(self, work: Work) -> None:
        """Raise SequenceError for a numbered request that comes before its time."""
        known = self._clients.get(work.client)
        last = 0 if known is None else known.last
        if work.number > last + 1:
            raise _out_of_order("requests before this one have not arrived", last)

    def find(self, work: Work, now: float) -> Answer | None:
        """The answer to a request that was done; None for a new one that is next.

        Raises SequenceError and KeyReusedError.
        """
        if work.key:
            self._forget(now)
            done = self._keys.get(work.key)
            if done is None:
                return None
            if done.fingerprint != fingerprint(work):
                raise KeyReusedError("another request was sent under this Idempotency-Key; choose a new key for a new request")
            return done.again()
        self.expect(work)
        client = self._clients.get(work.client)
        last = 0 if client is None else client.last
        if work.number == last + 1:
            return None
        done = None if client is None else client.done.get(work.number)
        if done is not None and done.fingerprint == fingerprint(work):
            found = done.again()
            if found is not None:
                return found
            done = None
        if done is None:
            raise _out_of_order("the answers to that number are forgotten", last)
        raise _out_of_order("another request was sent under this number", last, taken=True)

    def remember(self, work: Work, mark: str | Work, answer: Answer, now: float) -> None:
        """Keep what came of a request. The answer must be ``owned``: it must not change any more."""
        self._put(work.client, work.number, work.key, Done(mark, answer, now, answer.nbytes))
        if work.key:
            self._forget(now)

    def _put(self, client: str, number: int, key: str, done: Done) -> None:
        if key:
            self._keys[key] = done
            self._nbytes += done.nbytes
            return
        found = self._clients.get(client)
        if found is None:
            found = self._clients[client] = _Client()
            if len(self._clients) > _MOST_CLIENTS:
                _, oldest = self._clients.popitem(last=False)
                self._numbered_nbytes -= sum(d.nbytes for d in oldest.done.values())
        else:
            self._clients.move_to_end(client)
        found.last = number
        found.done[number] = done
        self._numbered_nbytes += done.nbytes
        if len(found.done) > ANSWERS_OF_A_CLIENT:
            self._numbered_nbytes -= found.done.popitem(last=False)[1].nbytes
        if self._numbered_nbytes > _MOST_BYTES:
            self._shed(done)

    def _shed(self, newest: Done) -> None:
        """Forget large answers: first those that no client waits for any more, then those of clients that were silent longest."""
        for only_older in (True, False):
            for client in self._clients.values():
                for number, done in client.done.items():
                    if self._numbered_nbytes <= _MOST_BYTES:
                        return
                    if done is not newest and not (only_older and number == client.last):
                        self._numbered_nbytes -= done.nbytes
                        client.done[number] = Done(done.of, None, done.at, 0)

    def _forget(self, now: float) -> None:
        while self._keys:
            oldest = next(iter(self._keys.values()))
            if now - oldest.at < self._key_seconds and len(self._keys) <= _MOST_KEYS and self._nbytes <= _MOST_BYTES:
                return
            self._nbytes -= self._keys.popitem(last=False)[1].nbytes

    def as_json(self) -> list[Any]:
        """All of it, for a snapshot."""
        rows = [(client, number, "", done) for client, known in self._clients.items() for number, done in known.done.items()]
        rows += [("", 0, key, done) for key, done in self._keys.items()]
        return [[client, number, key, done.fingerprint, done.at, written(done.answer)] for client, number, key, done in rows]

    def load(self, rows: list[Any]) -> None:
        """Take over what ``as_json`` gave."""
        for client, number, key, mark, at, text in rows:
            answer = read_answer(text)
            self._put(client, number, key, Done(mark, answer, at, 0 if answer is None else answer.nbytes))


def written(answer: Answer | None) -> dict[str, Any] | None:
    """An answer as JSON."""
    if answer is None:
        return None
    return {
        "body": base64.b64encode(b"".join(answer.pieces)).decode("ascii"),
        "media_type": answer.media_type,
        "status": answer.status,
        "created": answer.created,
        "headers": answer.headers,
    }


def read_answer(given: Mapping[str, Any] | None) -> Answer | None:
    """What ``written`` gave."""
    if given is None:
        return None
    body = base64.b64decode(given["body"])
    headers = tuple([(str(name), str(value)) for name, value in given["headers"]])
    return Answer((body,) if body else (), given["media_type"], given["status"], given["created"], headers=headers)
