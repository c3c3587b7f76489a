"""Every request at most once: a repeat gets the first answer, by the numbers of a client or by an Idempotency-Key."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from telegrad.contract import codec
from telegrad.contract.errors import KeyReusedError, SequenceError, StorageError, TelegradError, UnavailableError
from telegrad_service.hosts.base import Answer, Work

REPLAYED: Final = ("Idempotency-Replayed", "true")
"""The header of an answer that was given before."""

ANSWERS_OF_A_CLIENT: Final = 4
"""A client sends the next batch when it has the answer to the one before, so one would do."""

_MOST_CLIENTS: Final = 256
_MOST_KEYS: Final = 10_000
_MOST_BYTES: Final = 64 * 2**20
"""Answers kept under keys: beyond that the oldest are forgotten before their time."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a request.

    Attributes:
        fingerprint: of the request.
        answer: that was given.
        at: when, in seconds since 1970.
    """

    fingerprint: str
    answer: Answer
    at: float

    def again(self) -> Answer:
        """The answer, marked as given before."""
        return self.answer._replace(headers=(*self.answer.headers, REPLAYED))


def fingerprint(work: Work) -> str:
    """Tells requests apart that were sent under the same number or key."""
    text = json.dumps([work.verb, sorted(work.arguments.items()), work.media_type], default=str).encode()
    found = hashlib.blake2b(text + b"\0" + work.body, digest_size=16)
    for name, array in work.buffers.items():
        found.update(f"{name} {array.dtype} {array.shape} {zlib.crc32(codec.array_bytes(array))}".encode())
    return found.hexdigest()


def answer_of(error: TelegradError, request_id: str) -> Answer:
    """An error as the answer that it becomes."""
    problem = {**error.problem(), "request_id": request_id}
    return Answer((codec.dump_json(problem),), codec.PROBLEM_MEDIA_TYPE, error.status)


def is_final(error: TelegradError) -> bool:
    """Whether the request was done, as far as it will ever be; otherwise a repeat is done anew."""
    return not isinstance(error, (StorageError, UnavailableError))


class Once:
    """The last answers of one session."""

    def __init__(self, key_seconds: float) -> None:
        """Remember what came of keys for so long."""
        self._key_seconds = key_seconds
        self._clients: OrderedDict[str, OrderedDict[int, Done]] = OrderedDict()
        self._keys: OrderedDict[str, Done] = OrderedDict()
        self._nbytes = 0

    def find(self, work: Work, mark: str, now: float) -> Answer | None:
        """The answer to a request that was done; None for a new one that is next.

        Raises SequenceError and KeyReusedError.
        """
        if work.key:
            self._forget(now)
            done = self._keys.get(work.key)
            if done is None:
                return None
            if done.fingerprint != mark:
                raise KeyReusedError("another request was sent under this Idempotency-Key; choose a new key for a new request")
            return done.again()
        answers = self._clients.get(work.client)
        if answers is None:
            # A client that comes back after its session was idle for long, or to a copy, goes on where it was.
            return None
        last = next(reversed(answers))
        if work.number == last + 1:
            return None
        done = answers.get(work.number)
        if done is not None and done.fingerprint == mark:
            return done.again()
        what = (
            "another request was sent under this number"
            if done is not None
            else "the answers to that number are forgotten"
            if work.number <= last
            else "requests before this one have not arrived"
        )
        raise SequenceError(f"{what}: the client's next number is {last + 1}", extra={"expected": last + 1})

    def remember(self, work: Work, mark: str, answer: Answer, now: float) -> None:
        """Keep what came of a request."""
        # Of its own: a large answer is a view of memory that the session may write to.
        kept = answer._replace(pieces=(b"".join(answer.pieces),)) if answer.pieces else answer
        self._put(work.client, work.number, work.key, Done(mark, kept, now))
        self._forget(now)

    def _put(self, client: str, number: int, key: str, done: Done) -> None:
        if key:
            self._keys[key] = done
            self._nbytes += done.answer.nbytes
            return
        answers = self._clients.setdefault(client, OrderedDict())
        self._clients.move_to_end(client)
        answers[number] = done
        while len(answers) > ANSWERS_OF_A_CLIENT:
            answers.popitem(last=False)
        while len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._keys:
            oldest = next(iter(self._keys.values()))
            if now - oldest.at < self._key_seconds and len(self._keys) <= _MOST_KEYS and self._nbytes <= _MOST_BYTES:
                return
            self._nbytes -= self._keys.popitem(last=False)[1].answer.nbytes

    def as_json(self) -> list[Any]:
        """All of it, for a snapshot."""
        rows = [(client, number, "", done) for client, answers in self._clients.items() for number, done in answers.items()]
        rows += [("", 0, key, done) for key, done in self._keys.items()]
        return [[client, number, key, done.fingerprint, done.at, _written(done.answer)] for client, number, key, done in rows]

    def load(self, rows: list[Any]) -> None:
        """Take over what ``as_json`` gave."""
        for client, number, key, mark, at, answer in rows:
            self._put(client, number, key, Done(mark, _read(answer), at))


def _written(answer: Answer) -> dict[str, Any]:
    return {
        "body": base64.b64encode(b"".join(answer.pieces)).decode("ascii"),
        "media_type": answer.media_type,
        "status": answer.status,
        "created": answer.created,
        "headers": answer.headers,
    }


def _read(written: Mapping[str, Any]) -> Answer:
    body = base64.b64decode(written["body"])
    headers = tuple([(str(name), str(value)) for name, value in written["headers"]])
    return Answer((body,) if body else (), written["media_type"], written["status"], written["created"], headers=headers)
