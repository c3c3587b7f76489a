"""What keeps the journals of sessions: for each a table of groups and a heap of blobs, and nothing that knows what they mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from telegrad.contract.errors import ArgumentValueError

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")


class Group(NamedTuple):
    """What was committed together: all of it is there, or none.

    Attributes:
        number: one more than that of the group before.
        payload: entries, one after the other.
        checksum: of the payload, the number, and the checksum before; see ``log``.
    """

    number: int
    payload: bytes
    checksum: bytes


class Kept(NamedTuple):
    """A session that a journal has: its id, when it was made (seconds since 1970), and whose it is."""

    id: str
    created: float
    tenant: str = ""


class Store(ABC):
    """The journal of one session. Used by one thread at a time.

    Attributes:
        atomic: whether a commit that was cut short leaves nothing behind, so that a broken last group is damage. Otherwise it may
            be the group that was being written when the machine stopped, which nobody was told of.
    """

    atomic: bool = True

    @abstractmethod
    def groups(self) -> Iterator[Group]:
        """All groups in order."""

    @abstractmethod
    def anchor(self) -> bytes:
        """The checksum before the first group."""

    @abstractmethod
    def promised(self) -> int:
        """The highest number that is known to have been committed, even where the group itself is not there; 0 for none."""

    @abstractmethod
    def blobs(self) -> dict[str, tuple[int, int]]:
        """Every blob by its SHA-256: the number of the group that it came with, and its bytes."""

    @abstractmethod
    def blob(self, digest: str) -> bytes | None:
        """The blob of that SHA-256; None where it is not there."""

    def check(self) -> None:
        """Raise StorageError where it is known that a commit now would keep nothing."""
        return

    @abstractmethod
    def commit(self, group: Group, blobs: Mapping[str, bytes | memoryview]) -> None:
        """Put a group and the blobs that it brings on the disk: when this returns, they survive the end of process and machine.

        A group takes the place of another of its number, whose commit failed though it arrived. Raises StorageError, and then none
        of it is there, or all of it though nobody could say so.
        """

    @abstractmethod
    def compact(self, number: int, anchor: bytes, dropped: Sequence[str]) -> None:
        """Forget all groups before ``number``, whose checksum before is ``anchor``, and the blobs that are ``dropped``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""


class Journal(ABC):
    """Where the stores of all sessions are."""

    @abstractmethod
    def open(self, session: Kept) -> Store:
        """The store of a session, made if need be. Raises StorageError, and SessionDamagedError for one that nobody can read."""

    @abstractmethod
    def claim(self) -> None:
        """Be the only server that uses this journal, until ``close``. Raises StorageError where another one does."""

    @abstractmethod
    def check(self) -> None:
        """See whether it can be used now, asked about once a second of the server that has claimed it.

        Raises StorageError where it cannot be for the moment, UnavailableError where another server has taken it over.
        """

    @abstractmethod
    def note(self, name: str, text: str | None) -> None:
        """Put a short text of the server's own under that name on the disk; None takes it away. Raises StorageError."""

    @abstractmethod
    def notes(self, prefix: str) -> list[str]:
        """All texts whose names begin so. Raises StorageError."""

    @abstractmethod
    def sessions(self) -> list[Kept]:
        """Every session that has a store, oldest first."""

    @abstractmethod
    def delete(self, session: Kept) -> None:
        """Forget a session, which nobody has open; nothing happens where there is none."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""


def open_journal(url: str) -> Journal:
    """The journal at ``sqlite:///FOLDER`` or ``postgresql://...``: plain text, so that another process can open it too.

    Raises ArgumentValueError for any other address, ConfigurationError where a library is missing, StorageError where it cannot be
    used.
    """
    if url.startswith(_SQLITE):
        from telegrad_service.journal.sqlite import SqliteJournal

        return SqliteJournal(_folder(url))
    if url.startswith(_POSTGRES):
        from telegrad_service.journal.postgres import PostgresJournal

        return PostgresJournal(url)
    raise ArgumentValueError(f"must begin with {_SQLITE} or {_POSTGRES[0]}")


def shown(url: str) -> str:
    """The address of a journal for people, without passwords. Raises as ``open_journal`` does."""
    if url.startswith(_POSTGRES):
        from telegrad_service.journal import postgres

        return postgres.shown(url)
    return str(_folder(url))


def _folder(url: str) -> Path:
    return Path("/", url.removeprefix(_SQLITE))
