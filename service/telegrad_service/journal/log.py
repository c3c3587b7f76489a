"""A session's journal as entries in order, each checked when it is read.

Groups form a chain: the checksum of each covers the one before, so that no group can be changed, dropped from the middle or moved
without notice. Format version 1:

- a group's payload is entries, each 4 bytes of length (little-endian) and so many bytes, deflated, with the entry before as the
  dictionary (none for a snapshot, and after one): the requests of a training loop differ in a few names, and take a few hundred
  bytes each;
- an entry, inflated, is 4 bytes of length, a JSON object, and the bytes of a request's body;
- the member ``blobs`` of the object lists the SHA-256 of all blobs that the entry needs;
- the checksum is BLAKE2b, 16 bytes, of the checksum before, the number (8 bytes, little-endian) and the payload.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from telegrad.contract.errors import SessionDamagedError, StorageError
from telegrad_service.journal.base import Group, Store

FORMAT_VERSION: Final = 1

_KINDS: Final = frozenset(("work", "segment", "snapshot", "dropped"))
"""What entries of this format tell of."""

SPARE_BYTES: Final = 64 * 2**20
"""Blobs that no entry needs any more are kept up to so many bytes."""

_LENGTH: Final = struct.Struct("<I")
_NUMBER: Final = struct.Struct("<Q")
_NO_DICTIONARY: Final = b"\0"
"""Stands for none: zlib has no way to say so."""
_DICTIONARY_ID: Final = slice(2, 6)
"""Where a deflated entry has its dictionary's Adler-32 (RFC 1950)."""
_NONE_ID: Final = zlib.adler32(_NO_DICTIONARY).to_bytes(4, "big")
_LOOK_AHEAD: Final = 300
"""What zlib keeps of its window for itself."""
_MEMORY: Final = 7
_LEVEL: Final = 1
"""Of compression: with the entry before as the dictionary, higher levels find no more."""

_committer: Final = ThreadPoolExecutor(16, thread_name_prefix="telegrad-journal")
"""Commits run beside the computation that they record. Makes its threads when first used, so that a process may still fork."""


class Entry(NamedTuple):
    """One thing that happened.

    Attributes:
        head: what, as a JSON object.
        body: of a request.
    """

    head: dict[str, Any]
    body: bytes = b""


class Found(NamedTuple):
    """What a journal says.

    Attributes:
        entries: the last snapshot, if there is one, and what came after it.
        damage: why it ends there though more had happened; None where it is whole.
        torn: whether the last group was cut off, which nobody had been told of.
    """

    entries: list[Entry]
    damage: str | None
    torn: bool


def digest(data: bytes | memoryview) -> str:
    """The name of a blob."""
    return hashlib.sha256(data).hexdigest()


def pack(entry: Entry, before: bytes) -> tuple[bytes, bytes]:
    """The entry as it is stored after ``before``, and as it is a dictionary to the next one."""
    text = json.dumps(entry.head, separators=(",", ":")).encode()
    plain = _LENGTH.pack(len(text)) + text + entry.body
    # No larger than it takes: a window of 32 KiB costs more to make than a request to deflate.
    window = min(max((len(before) + len(plain) + _LOOK_AHEAD).bit_length(), 9), 15)
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, window, _MEMORY, zdict=before or _NO_DICTIONARY)
    packed = deflate.compress(plain) + deflate.flush()
    return _LENGTH.pack(len(packed)) + packed, plain


def pack_all(entries: Sequence[Entry], before: bytes) -> tuple[bytes, bytes]:
    """The payload of a group, and what is the dictionary to the next one."""
    packed: list[bytes] = []
    for entry in entries:
        piece, before = pack(entry, b"" if entry.head["kind"] == "snapshot" else before)
        packed.append(piece)
        if entry.head["kind"] == "snapshot":
            before = b""
    return b"".join(packed), before


def unpack(payload: bytes, before: bytes) -> tuple[list[Entry], bytes]:
    """The entries of a group. Raises ValueError for what is none."""
    entries: list[Entry] = []
    at = 0
    try:
        while at < len(payload):
            (size,) = _LENGTH.unpack_from(payload, at)
            at += _LENGTH.size
            packed = payload[at : at + size]
            # Each says which dictionary it needs: a snapshot none, whatever stands before it.
            inflate = zlib.decompressobj(zdict=_NO_DICTIONARY if packed[_DICTIONARY_ID] == _NONE_ID else before)
            before = inflate.decompress(packed)
            at += size
            (length,) = _LENGTH.unpack_from(before)
            head = json.loads(before[_LENGTH.size : _LENGTH.size + length])
            entries.append(Entry(head, before[_LENGTH.size + length :]))
            if head["kind"] == "snapshot":
                before = b""
    except (struct.error, zlib.error, KeyError, TypeError) as error:
        raise ValueError("not a group of entries") from error
    return entries, before


def _check_format(head: dict[str, Any]) -> None:
    """Raise SessionDamagedError for an entry of a later version of telegrad: the session cannot be told from it."""
    version = head.get("format", FORMAT_VERSION)
    if version != FORMAT_VERSION or head["kind"] not in _KINDS:
        raise SessionDamagedError(
            f"the journal of this session is of a later format than {FORMAT_VERSION}, which this version of telegrad reads; it was "
            "not changed. Serve it with the version that wrote it"
        )


def checksum(before: bytes, number: int, payload: bytes) -> bytes:
    """See the module."""
    return hashlib.blake2b(before + _NUMBER.pack(number) + payload, digest_size=16).digest()


class Log:
    """The entries of one session, over a store. One thread at a time.

    Attributes:
        durable: the number of the last entry that is on the disk.
        last: the number of the last entry.
        nbytes: what was written since the last snapshot.
        failed: whether a commit failed: then the session must be read anew.
    """

    def __init__(self, store: Store) -> None:
        """Over ``store``; ``read`` it before anything is added."""
        self._store = store
        self._pending: list[Entry] = []
        self._new: dict[str, bytes | memoryview] = {}
        self._known: dict[str, tuple[int, int]] = {}  # the group that used it last, and its bytes
        self._pieces: frozenset[str] = frozenset()  # of the last snapshot, and of no upload
        self._dictionary = b""
        self._group = 0
        self._checksum = b""
        self._commit: Future[None] | None = None
        self.durable = self.last = 0
        self.nbytes = 0
        self.failed = False

    def read(self) -> Found:
        """All entries since the last snapshot, checked. Raises SessionDamagedError for a journal of another format."""
        store = self._store
        entries: list[Entry] = []
        before, expected, damage, torn = store.anchor(), None, None, False
        found: list[Entry] = []
        dictionary = b""
        groups: list[Group] = []
        unreadable: str | None = None
        try:
            self._known = store.blobs()
            groups.extend(store.groups())
        except SessionDamagedError as error:
            unreadable = error.detail
        for index, group in enumerate(groups):
            if damage is None and expected not in (None, group.number):
                damage = f"group {expected} is missing"
            if damage is None and checksum(before, group.number, group.payload) != group.checksum:
                damage = f"group {group.number} is corrupted"
            if damage is None:
                damage, found, dictionary = self._entries(group, dictionary)
            if damage is not None:
                torn = not store.atomic and index == len(groups) - 1 and group.number > store.promised()
                break
            for entry in found:
                _check_format(entry.head)
                if entry.head["kind"] == "snapshot":
                    entries.clear()
                    self._pieces = frozenset(entry.head["pieces"])
                entries.append(entry)
                self.last = entry.head["number"]
            before, expected = group.checksum, group.number + 1
        if torn:
            damage = None
        elif damage is None and unreadable is not None:
            damage = unreadable
        elif damage is None and store.promised() > (expected or 1) - 1:
            damage = f"groups up to {store.promised()} were committed, and end at {(expected or 1) - 1}"
        self._group = (expected or 1) - 1
        self._checksum, self._dictionary = before, dictionary
        self.durable = self.last
        return Found(entries, damage, torn)

    def _entries(self, group: Group, dictionary: bytes) -> tuple[str | None, list[Entry], bytes]:
        try:
            entries, dictionary = unpack(group.payload, dictionary)
        except ValueError:
            return f"group {group.number} cannot be read", [], dictionary
        used = [name for e in entries for name in e.head.get("blobs", ())]
        missing = [name for name in used if name not in self._known]
        self._known |= {name: (group.number, self._known[name][1]) for name in used if name in self._known}
        return (f"group {group.number} misses a blob" if missing else None), entries, dictionary

    def blob(self, name: str) -> bytes:
        """A blob. Raises StorageError where it is not what it was."""
        data = self._store.blob(name)
        if data is None or digest(data) != name:
            raise StorageError("the journal lost or changed data that was uploaded")
        return data

    def keep(self, data: bytes | memoryview) -> str:
        """Take a blob into the next commit, unless it is there; its name. The memory must not change before that commit."""
        name = digest(data)
        if name in self._known:
            self._known[name] = self._group + 1, len(data)
        else:
            self._new[name] = data
        return name

    def add(self, head: dict[str, Any], body: bytes = b"") -> int:
        """Take an entry into the next commit; its number."""
        self.last += 1
        self._pending.append(Entry({**head, "number": self.last}, body))
        return self.last

    def check(self) -> None:
        """See ``Store.check``."""
        self._store.check()

    def begin_commit(self) -> None:
        """Begin to put everything that was added on the disk; go on meanwhile, but add nothing before ``finish_commit``."""
        if self._pending:
            self._commit = _committer.submit(self._write, self._pending, self._new)
            self._pending, self._new = [], {}

    def _write(self, entries: Sequence[Entry], blobs: Mapping[str, bytes | memoryview]) -> None:
        """In a thread, while nobody else touches this log."""
        payload, dictionary = pack_all(entries, self._dictionary)
        number = self._group + 1
        group = Group(number, payload, checksum(self._checksum, number, payload))
        self._store.commit(group, blobs)
        self._group, self._checksum, self._dictionary = number, group.checksum, dictionary
        sizes = {name: len(data) for name, data in blobs.items()}
        self._known |= {name: (number, size) for name, size in sizes.items()}
        self.nbytes += len(payload) + sum(sizes.values())

    def finish_commit(self) -> None:
        """Wait until all that ``begin_commit`` began with is on the disk. Raises StorageError, and then ``failed`` is set."""
        commit, self._commit = self._commit, None
        if commit is None:
            return
        try:
            commit.result()
        except BaseException:
            self.failed = True
            raise
        self.durable = self.last - len(self._pending)

    def commit(self) -> None:
        """Both at once."""
        self.begin_commit()
        self.finish_commit()

    def snapshot(self, head: dict[str, Any], pieces: Sequence[bytes | memoryview], needed: Sequence[str]) -> None:
        """Put a snapshot on the disk, and forget all that came before it. Raises StorageError.

        Args:
            head: further members of the entry.
            pieces: of the snapshot.
            needed: blobs that what follows may still refer to.
        """
        uploaded = self._known.keys() - self._pieces
        names = [self.keep(piece) for piece in pieces]
        self._pending.clear()  # the snapshot has all of it
        before = self._checksum
        self.add({**head, "kind": "snapshot", "format": FORMAT_VERSION, "pieces": names, "blobs": [*names, *needed]})
        self.commit()
        dropped = self._superfluous({*names, *needed})
        self._pieces = frozenset(names) - uploaded
        self._store.compact(self._group, before, dropped)
        for name in dropped:
            del self._known[name]
        self.nbytes = 0

    def _superfluous(self, needed: Collection[str]) -> list[str]:
        """Blobs that no entry needs, but for the uploads used last: the next epoch sends the same data again."""
        dropped: list[str] = []
        spare_bytes = SPARE_BYTES
        for name, (_, size) in sorted(self._known.items(), key=lambda item: -item[1][0]):
            if name not in needed:
                is_spare = name not in self._pieces and size <= spare_bytes
                spare_bytes -= size if is_spare else 0
                if not is_spare:
                    dropped.append(name)
        return dropped

    def close(self) -> None:
        """Let go of the store; what was not committed is forgotten."""
        if self._commit is not None:
            self._commit.exception()
            self._commit = None
        self._store.close()
