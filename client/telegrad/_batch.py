"""A batch on its way: which commands go together, the request that they become, and how the answer is handed out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from telegrad import _defaults
from telegrad._queue import GRAD_SUFFIX, Entry, Recorded, encode, references_of
from telegrad._retries import member
from telegrad._transport import Request
from telegrad.contract import codec, dtypes, safetensors
from telegrad.contract.commands import Apply, Create, Grad, Read, Release
from telegrad.contract.errors import SequenceError, TransportError


class Numbers:
    """By these the server knows a batch again: a name drawn for this client, and 1, 2, 3, ...

    A number counts as used once its batch was answered for good; so whoever is interrupted before leaves no gap.
    """

    __slots__ = ("_client", "_number", "_was_given_back")

    def __init__(self) -> None:
        self._client = secrets.token_urlsafe(16)
        self._number = 0
        self._was_given_back = False

    def next(self) -> dict[str, str]:
        """The headers of the next batch."""
        return self._headers(self._number + 1)

    def done(self, request: Request) -> None:
        """A batch was answered for good."""
        if request.headers:
            self._number = _number_of(request)
            self._was_given_back = False

    def give_back(self) -> None:
        """The last batch was refused as a whole. Whether that used its number depends on who refused it: the next one will tell."""
        self._was_given_back = True

    def is_used(self, refusal: SequenceError, request: Request) -> bool:
        """Whether a batch was refused because its number, which was given back, had been used."""
        return self._was_given_back and refusal.extra.get("taken") is True and _number_of(request) == self._number + 1

    def skip(self, request: Request) -> None:
        """Give a batch the number after its own, which was used."""
        used = _number_of(request)
        request.headers = self._headers(used + 1)
        self._number = used

    def _headers(self, number: int) -> dict[str, str]:
        return {"telegrad-client": self._client, _NUMBER: str(number)}


_NUMBER: Final = "telegrad-batch"


def _number_of(request: Request) -> int:
    return int(request.headers[_NUMBER])


def new_key() -> dict[str, str]:
    """The header by which the server knows any other request again."""
    return {"idempotency-key": secrets.token_urlsafe(16)}


@dataclass(slots=True)
class Sent:
    """A batch that was sent, and not answered for good: it stays the same until it is.

    Attributes:
        request: byte by byte.
        entries: what it was made of.
    """

    request: Request
    entries: Sequence[Entry]

    @property
    def is_numbered(self) -> bool:
        """Whether the server knows it again; what only reads is simply read again."""
        return bool(self.request.headers)


class Taken(NamedTuple):
    """What was taken from the queue and is not answered for good. One value, so that an interruption leaves it whole at any moment.

    Attributes:
        sent: the batch that was sent.
        held: what comes after it.
    """

    sent: Sent | None = None
    held: Sequence[Entry] = ()

    def __bool__(self) -> bool:
        return self.sent is not None or bool(self.held)


def request_of(path: str, batch: Sequence[Entry], numbers: Numbers) -> Request:
    """The request that the entries become."""
    commands, arrays = encode(batch)
    only_reads = all(isinstance(e, Recorded) and isinstance(e.command, Read) for e in batch)
    binary = any(isinstance(e, Recorded) and isinstance(e.command, Read) and e.command.encoding == "buffer" for e in batch)
    accept = f"{codec.SAFETENSORS_MEDIA_TYPE}, {codec.PROBLEM_MEDIA_TYPE}" if binary else codec.JSON_MEDIA_TYPE
    message = {"commands": commands}
    many = next((e.many for e in batch if isinstance(e, Recorded) and e.many is not None), None)
    address, hear = f"{path}/batch", None
    if many is not None:
        address, hear, accept = f"{address}?run_id={many.run_id}", many.hear, codec.EVENTS_MEDIA_TYPE
    headers = {} if only_reads else numbers.next()
    if arrays:
        body = list(safetensors.pack(arrays, message))
        return Request("POST", address, body, codec.SAFETENSORS_MEDIA_TYPE, accept, True, headers, hear=hear)
    return Request("POST", address, [codec.dump_json(message)], accept=accept, repeatable=True, headers=headers, hear=hear)


def hand_out(batch: Sequence[Entry], message: Any, arrays: Mapping[str, codec.Array]) -> None:
    """Hand the results out. Raises TransportError for an answer that is none."""
    results = member(message, "results")
    if not isinstance(results, (list, tuple)):
        raise TransportError("the answer has no results: is that address a telegrad server?")
    try:
        _hand_out(batch, cast("Sequence[dict[str, Any]]", results), arrays)
    except (LookupError, TypeError, ValueError) as error:  # telegrad's errors of bad values are such too
        raise TransportError(
            "the answer does not fit what was asked: is that address a telegrad server, of this version?"
        ) from error


def _hand_out(batch: Sequence[Entry], results: Sequence[dict[str, Any]], arrays: Mapping[str, codec.Array]) -> None:
    for result in results:
        index: int = result["index"]
        entry = batch[index]
        if not isinstance(entry, Recorded) or entry.reply is None:
            continue
        name = result.get("buffer")
        if name is not None:
            array = arrays.get(name)
            if array is None:
                continue
            array.setflags(write=False)
            entry.reply.array = array
        elif "base64" in result:
            described = result["tensor"]
            array = codec.from_base64(result["base64"], dtypes.as_dtype(described["dtype"]), tuple(described["shape"]))
            array.setflags(write=False)
            entry.reply.array = array
        elif isinstance(entry.command, Read) and entry.command.what == "value" and result.get("tensor") is not None:
            continue
        entry.reply.result = result


def cut(entries: Sequence[Entry]) -> int:
    """How many entries may go in one request.

    A failure drops the values that were read before it, so no read may stand before a change and be repeated after it. Large values
    are read apart from everything that changes something. Before a run that is followed nothing goes: its answer is a stream of
    events, and who interrupts it loses nothing else; what it collected may be read with it, as text. New tensors beyond
    ``FLUSH_BYTES`` wait for the next request, however many are recorded.
    """
    read = large = other = followed = False
    nbytes = 0
    for position, entry in enumerate(entries):
        if isinstance(entry, Recorded) and entry.array is not None:
            nbytes += entry.array.nbytes
            if nbytes > max(_defaults.FLUSH_BYTES, entry.array.nbytes):
                return position
        if followed and not _goes_along(entry):
            return position
        if isinstance(entry, Recorded) and isinstance(entry.command, Read):
            large = large or entry.nbytes > _defaults.LARGE_READ_BYTES
            if large and other:
                return position
            read = True
            continue
        if large:
            return position
        other = True
        if not isinstance(entry, Recorded) or isinstance(entry.command, (Create, Release, Grad, Apply)):
            continue
        if read:
            return position
        elif entry.many is not None:
            if position:
                return position
            followed = True
    return len(entries)


def _goes_along(entry: Entry) -> bool:
    """Whether an entry may follow a run in a request whose answer is a stream of events."""
    command = entry.command if isinstance(entry, Recorded) else None
    return isinstance(command, Release) or (isinstance(command, Read) and command.encoding != "buffer")


def reads_last(entries: Sequence[Entry]) -> tuple[Sequence[Entry], list[str]]:
    """Reads at the end, or large ones, without the releases among them: such a batch changes nothing and may be sent twice.

    The releases go with what is before the reads, where something is and no read needs what is released.

    Returns:
        the entries, and the names that are to be released later.
    """
    begin = _first_read(entries)
    if begin is None or not all(isinstance(e, Recorded) and isinstance(e.command, (Read, Release)) for e in entries[begin:]):
        return entries, []
    reads: list[Entry] = []
    needed: set[str] = set()
    releases: list[tuple[Recorded, Release]] = []
    for entry in entries[begin:]:
        if isinstance(entry, Recorded) and isinstance(entry.command, Release):
            releases.append((entry, entry.command))
        else:
            reads.append(entry)
            needed.update([reference.removesuffix(GRAD_SUFFIX) for reference in references_of(entry)])
    names = [name for _, release in releases for name in release.tensors]
    gone = [name for name in names if begin and name not in needed]
    if not gone:
        return [*entries[:begin], *reads], names
    first, _ = releases[0]
    release = Recorded(Release(tuple(gone)), first.code, first.instruction)
    return [*entries[:begin], release, *reads], [name for name in names if name in needed]


def _first_read(entries: Sequence[Entry]) -> int | None:
    """Where reads begin that are sent apart from what is before: at the first large one, or at the start where nothing is."""
    if all(isinstance(e, Recorded) and isinstance(e.command, (Read, Release)) for e in entries):
        return 0
    for position, entry in enumerate(entries):
        if isinstance(entry, Recorded) and entry.nbytes > _defaults.LARGE_READ_BYTES:
            return position
    return None


def unread(entries: Sequence[Entry]) -> list[Entry]:
    """Those that still wait for an answer."""
    return [e for e in entries if isinstance(e, Recorded) and e.reply is not None and not e.reply.done]
