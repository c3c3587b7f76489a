"""Journals as SQLite databases in a folder: one for each session, so that sessions share no lock, no damage and no deletion.

A database is in WAL mode and synced at every commit. SQLite drops frames at the end of a WAL that it cannot read, without a word; a
file beside it, ``.mark``, says how many groups were committed, so that such a loss is noticed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from telegrad.contract.errors import SessionDamagedError, StorageError, TelegradError, UnavailableError
from telegrad_service.journal.base import Group, Journal, Kept, Store

_SUFFIX: Final = ".sqlite"
_DELETED: Final = ".deleted"
"""What a database is called while it and the files beside it are deleted: a server that is killed meanwhile leaves no session
without its last changes, and the next one finishes it."""
_BESIDE: Final = ("-wal", "-shm", ".mark")
_MARK: Final = struct.Struct("<QQ")
"""A number and its complement: the hint itself may be damaged, and says nothing then."""
_ALL_BITS: Final = 2**64 - 1
_BUSY_SECONDS: Final = 10.0
_LEAST_FREE_BYTES: Final = 2**20

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (number INTEGER PRIMARY KEY, payload BLOB NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL);
"""

_CACHE_KIB: Final = 256
"""Of pages of each database that are kept in memory. What is appended once and hardly ever read gains nothing by SQLite's 2 MiB,
which every session would come to hold as its file grows."""

_LOCK_FILE: Final = "lock"
_REPLACED: Final = (
    "the folder of the journal was deleted, moved or replaced while the server ran: what is done now could not be kept. Put it "
    "back, or start the server again"
)

_NOTES_FILE: Final = "server.db"
_NOTES_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;"


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """SQLite's errors as telegrad's."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite checks no text
        raise SessionDamagedError("the database of the session's journal is damaged: text in it is none") from error
    except sqlite3.DatabaseError as error:
        if type(error) is sqlite3.DatabaseError:  # what SQLite says of a file that is none, or broken
            raise SessionDamagedError(f"the database of the session's journal is damaged: {error}") from error
        full = "full" in str(error)
        raise StorageError(
            "the disk of the journal is full: nothing of this request was kept. Free space, then send it again"
            if full
            else f"the journal cannot be used: {error}"
        ) from error


@contextlib.contextmanager
def _of_the_system(what: str) -> Generator[None]:
    """The system's errors as telegrad's."""
    try:
        yield
    except TelegradError:  # some of which are OSErrors
        raise
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror}") from error


def _bytes(value: Any) -> bytes:
    """What a damaged database may say to be something else."""
    if type(value) is not bytes:
        raise SessionDamagedError("the database of the session's journal is damaged: what should be bytes is none")
    return value


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """A database that is synced at every commit, with these tables. Raises sqlite3.DatabaseError."""
    made = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = FULL")
        made.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        made.executescript(schema)
    except sqlite3.DatabaseError:
        made.close()
        raise
    return made


class SqliteStore(Store):
    """See ``Store``."""

    def __init__(self, path: Path) -> None:
        """Open the database, made if need be. Raises StorageError."""
        self._path = path
        with _translated():
            self._database = connect(path, _SCHEMA)
        # Plain numbers in a file that nobody syncs: a hint, which a process that is killed cannot lose.
        self._mark = os.open(path.with_name(path.name + ".mark"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = path.stat()

    def check(self) -> None:
        """See ``Store``. The system lets us write on to a file that has no name any more, and all of it is lost at the end."""
        try:
            is_there = os.path.samestat(self._path.stat(), self._file)
        except OSError:
            is_there = False
        if not is_there:
            raise StorageError(
                "the file of the session's journal was deleted, moved or replaced while the session was in use: nothing can be "
                "kept there. Nothing of this request was done; copy what you need to a new session"
            )

    def groups(self) -> Iterator[Group]:
        """See ``Store``."""
        with _translated():
            for row in self._database.execute("SELECT number, payload, checksum FROM groups ORDER BY number"):
                number, payload, checksum = row
                yield Group(number, _bytes(payload), _bytes(checksum))

    def anchor(self) -> bytes:
        """See ``Store``."""
        with _translated():
            row = self._database.execute("SELECT value FROM meta WHERE name = 'anchor'").fetchone()
        return b"" if row is None else _bytes(row[0])

    def promised(self) -> int:
        """See ``Store``."""
        data = os.pread(self._mark, _MARK.size, 0)
        number, complement = _MARK.unpack(data) if len(data) == _MARK.size else (0, 0)
        return int(number) if number ^ complement == _ALL_BITS else 0

    def blobs(self) -> dict[str, tuple[int, int]]:
        """See ``Store``."""
        with _translated():
            return {digest: (used, size) for digest, used, size in self._database.execute("SELECT digest, used, size FROM blobs")}

    def blob(self, digest: str) -> bytes | None:
        """See ``Store``."""
        with _translated():
            row = self._database.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else _bytes(row[0])

    def commit(self, group: Group, blobs: Mapping[str, bytes | memoryview]) -> None:
        """See ``Store``."""
        self.check()
        with _translated(), self._transaction() if blobs else contextlib.nullcontext():
            for digest, data in blobs.items():
                self._database.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", (digest, group.number, len(data), data))
            self._database.execute("INSERT OR REPLACE INTO groups VALUES (?, ?, ?)", group)
        with _of_the_system("the journal cannot be used"):
            os.pwrite(self._mark, _MARK.pack(group.number, _ALL_BITS ^ group.number), 0)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                with contextlib.suppress(sqlite3.DatabaseError):
                    self._database.execute("ROLLBACK")
            raise

    def compact(self, number: int, anchor: bytes, dropped: Sequence[str]) -> None:
        """See ``Store``."""
        with _translated(), self._transaction():
            self._database.execute("DELETE FROM groups WHERE number < ?", (number,))
            self._database.execute("INSERT OR REPLACE INTO meta VALUES ('anchor', ?)", (anchor,))
            self._database.executemany("DELETE FROM blobs WHERE digest = ?", [(digest,) for digest in dropped])

    def close(self) -> None:
        """See ``Store``."""
        with contextlib.suppress(sqlite3.DatabaseError):
            self._database.close()
        if self._mark >= 0:
            os.close(self._mark)
            self._mark = -1


class SqliteJournal(Journal):
    """See ``Journal``. A database is named after its session: ``CREATED~ID~TENANT.sqlite``, the tenant in hexadecimal."""

    def __init__(self, folder: str | Path) -> None:
        """Keep sessions in ``folder``, which ``claim`` makes if need be, for its owner alone."""
        self._folder = Path(folder)
        self._claim: int | None = None
        self._notes: sqlite3.Connection | None = None

    def _path(self, session: Kept) -> Path:
        return self._folder / f"{session.created!r}~{session.id}~{session.tenant.encode().hex()}{_SUFFIX}"

    def open(self, session: Kept) -> Store:
        """See ``Journal``."""
        with _of_the_system("the journal of the session cannot be opened"):
            return SqliteStore(self._path(session))

    def claim(self) -> None:
        """See ``Journal``."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the folder of the journal cannot be made: {error.strerror}; name another one (data_dir)"
            ) from error
        try:
            descriptor = os.open(self._folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"the folder of the journal cannot be locked: {error.strerror}; name another one (data_dir)"
            ) from error
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise StorageError("another server uses this folder; give each one its own (data_dir)") from error
        self._claim = descriptor
        for path in self._folder.glob(f"*{_SUFFIX}{_DELETED}"):
            _delete(path.with_name(path.name.removesuffix(_DELETED)))

    def check(self) -> None:
        """See ``Journal``. A folder that was deleted or replaced has another lock, or none: somebody else may use it by now."""
        with _of_the_system("the folder of the journal cannot be used"):
            try:
                is_ours = self._claim is None or os.path.samestat(os.fstat(self._claim), (self._folder / _LOCK_FILE).stat())
            except FileNotFoundError:
                is_ours = False
            if not is_ours:
                raise UnavailableError(_REPLACED)
            free_bytes = shutil.disk_usage(self._folder).free
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise StorageError("the folder of the journal may not be written to: it belongs to somebody else, or is read-only")
        if free_bytes < _LEAST_FREE_BYTES:
            raise StorageError("the disk of the journal is full")

    def note(self, name: str, text: str | None) -> None:
        """See ``Journal``."""
        with self._translated():
            if text is None:
                self._noted().execute("DELETE FROM notes WHERE name = ?", (name,))
            else:
                self._noted().execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text))

    def notes(self, prefix: str) -> list[str]:
        """See ``Journal``."""
        with self._translated():
            rows = self._noted().execute("SELECT text FROM notes WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
            return [str(text) for (text,) in rows]

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        """SQLite's errors with the notes as telegrad's."""
        try:
            with _translated():
                yield
        except SessionDamagedError as error:
            raise StorageError(
                f"the file {self._folder / _NOTES_FILE} is damaged. It says which sessions were opened under an Idempotency-Key, "
                "and nothing else: stop the server, move the file away, and start it again"
            ) from error

    def _noted(self) -> sqlite3.Connection:
        """The database of notes, made if need be; used by one thread at a time."""
        if self._notes is None:
            self._notes = connect(self._folder / _NOTES_FILE, _NOTES_SCHEMA)
        return self._notes

    def sessions(self) -> list[Kept]:
        """See ``Journal``."""
        found: list[Kept] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(ValueError):  # a file of somebody else's
                created, session_id, tenant = path.name.removesuffix(_SUFFIX).split("~")
                found.append(Kept(session_id, float(created), bytes.fromhex(tenant).decode()))
        return sorted(found, key=lambda kept: (kept.created, kept.id))

    def delete(self, session: Kept) -> None:
        """See ``Journal``."""
        with _of_the_system("the journal of the session cannot be deleted"):
            _delete(self._path(session))

    def close(self) -> None:
        """See ``Journal``."""
        if self._notes is not None:
            with contextlib.suppress(sqlite3.DatabaseError):
                self._notes.close()
            self._notes = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None


def _delete(path: Path) -> None:
    """Delete a database and what is beside it; see ``_DELETED``. Raises OSError."""
    deleted = path.with_name(path.name + _DELETED)
    with contextlib.suppress(FileNotFoundError):
        path.rename(deleted)
    for ending in _BESIDE:
        path.with_name(path.name + ending).unlink(missing_ok=True)
    deleted.unlink(missing_ok=True)


def _lock(descriptor: int) -> None:
    """Lock the file for this process, without waiting. Raises OSError where another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
