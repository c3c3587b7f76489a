"""Journals in a PostgreSQL database, through psycopg: the same groups and blobs as in SQLite, in four tables for all sessions.

**One server.** A server holds an advisory lock of the database's schema as long as it runs, and counts up ``claims`` when it takes
it. One that lost its connection, and with it the lock, goes on only if nobody else has claimed the journal since.

**One owner.** Whoever opens a session writes his token into its row, and every commit asks for that token in the same statement: a
process that was given up, and still writes, finds that the session is no longer his. Nothing hangs on clocks.

**Again, not twice.** A commit whose answer was lost with the connection is made again over a new one: a group has its number, and
the same group takes its own place. What failed for good leaves its number to the next one.

Passwords stand in the address and nowhere else: no message that is made here repeats it, or what the driver says of it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, LiteralString, TypeAlias, TypeVar

try:
    import psycopg
    from psycopg import conninfo, errors
except ImportError as missing:
    from telegrad.contract.errors import ConfigurationError

    raise ConfigurationError("journals in PostgreSQL need psycopg: pip install 'telegrad[postgres]'") from missing

from telegrad.contract.errors import (
    ArgumentValueError,
    JournalUnreachableError,
    SessionDamagedError,
    StorageError,
    UnavailableError,
)
from telegrad_service.journal.base import Group, Journal, Kept, Store

log = logging.getLogger("telegrad.service")

T = TypeVar("T")
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

PATIENCE_SECONDS: Final = 5.0
"""What is asked of a database that cannot be reached is tried again for so long: a restart of it is a pause."""

_PAUSE_SECONDS: Final = 0.1
_CLAIM_SECONDS: Final = 3.0
"""How long a new server waits for one that is just ending."""

_LOCK_CLASS: Final = 0x7E1E64AD
"""Tells our advisory locks from those of other programs."""

_FORMAT: Final = "1"

_DEFAULTS: Final = {
    "application_name": "telegrad",
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",  # milliseconds
}
"""Of connections, unless the address says otherwise: a server that is gone is noticed within seconds, not hours."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS telegrad_meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS telegrad_sessions (
    id text PRIMARY KEY, created double precision NOT NULL, tenant text NOT NULL, owner bytea NOT NULL,
    promised bigint NOT NULL DEFAULT 0, anchor bytea NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS telegrad_groups (
    session text NOT NULL, number bigint NOT NULL, payload bytea NOT NULL, checksum bytea NOT NULL, PRIMARY KEY (session, number));
CREATE TABLE IF NOT EXISTS telegrad_blobs (
    session text NOT NULL, digest text NOT NULL, used bigint NOT NULL, size bigint NOT NULL, data bytea NOT NULL,
    PRIMARY KEY (session, digest));
ALTER TABLE telegrad_blobs ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE telegrad_groups ALTER COLUMN payload SET STORAGE EXTERNAL;
"""  # EXTERNAL: payloads are deflated already, and numbers are not worth the time

_OWN: Final = """
INSERT INTO telegrad_sessions (id, created, tenant, owner) VALUES (%(id)s, %(created)s, %(tenant)s, %(owner)b)
ON CONFLICT (id) DO UPDATE SET owner = EXCLUDED.owner RETURNING promised, anchor"""

_ADD_BLOB: Final = """
INSERT INTO telegrad_blobs VALUES (%(id)s, %(digest)s, %(number)s, %(size)s, %(data)b)
ON CONFLICT DO NOTHING"""

_ADD_GROUP: Final = """
WITH mine AS (UPDATE telegrad_sessions SET promised = %(number)s WHERE id = %(id)s AND owner = %(owner)b RETURNING id)
INSERT INTO telegrad_groups SELECT id, %(number)s, %(payload)b, %(checksum)b FROM mine
ON CONFLICT (session, number) DO UPDATE SET payload = EXCLUDED.payload, checksum = EXCLUDED.checksum"""

_COMPACT: Final = """
WITH mine AS (UPDATE telegrad_sessions SET anchor = %(anchor)b WHERE id = %(id)s AND owner = %(owner)b RETURNING id),
groups AS (DELETE FROM telegrad_groups USING mine WHERE session = mine.id AND number < %(number)s),
blobs AS (DELETE FROM telegrad_blobs USING mine WHERE session = mine.id AND digest = ANY(%(dropped)s))
UPDATE telegrad_sessions SET anchor = anchor FROM mine WHERE false"""

_FORGET: Final = """
WITH groups AS (DELETE FROM telegrad_groups WHERE session = %(id)s), blobs AS (DELETE FROM telegrad_blobs WHERE session = %(id)s)
DELETE FROM telegrad_sessions WHERE id = %(id)s"""

_TAKEN: Final = "another server has taken over this journal; only one may use it. Ask that one, or start this one again"


def _parts(address: str) -> dict[str, Any]:
    """What an address says. Raises ArgumentValueError for one that is none, without repeating it."""
    try:
        return dict(conninfo.conninfo_to_dict(address))
    except psycopg.ProgrammingError:
        # Not the driver's own words: they repeat the address.
        raise ArgumentValueError("is no address of a PostgreSQL database: postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None


def shown(address: str) -> str:
    """The address for people: without password, and without parameters, which may hold one. Raises ArgumentValueError."""
    parts = _parts(address)
    where = parts.get("host") or "localhost"
    return f"PostgreSQL at {where}, port {parts.get('port') or 5432}, database {parts.get('dbname') or parts.get('user') or ''}"


def _connect(address: str) -> Connection:
    given = _parts(address)
    return psycopg.connect(
        conninfo.make_conninfo(address, **{k: v for k, v in _DEFAULTS.items() if k not in given}), autocommit=True
    )


def _prepare(connection: Connection) -> None:
    """Make the tables where there are none. Raises StorageError for those of another version."""
    (found,) = _one(connection, "SELECT to_regclass('telegrad_blobs') IS NOT NULL")
    if not found:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_CLASS,))  # two at once would make them twice
            connection.execute(_SCHEMA)
            connection.execute("INSERT INTO telegrad_meta VALUES ('format', %s) ON CONFLICT DO NOTHING", (_FORMAT,))
    (version,) = _one(connection, "SELECT value FROM telegrad_meta WHERE name = 'format'")
    if version != _FORMAT:
        raise StorageError(f"the journal's tables are of format {version}, and this version of telegrad reads {_FORMAT}")


def _one(connection: Connection, statement: LiteralString, values: Any = None) -> tuple[Any, ...]:
    row = connection.execute(statement, values, binary=True).fetchone()
    return ("",) if row is None else row


def _as_ours(error: psycopg.Error) -> StorageError | SessionDamagedError:
    """An error of the driver as one of telegrad's: without its text, which names hosts and users."""
    code = error.sqlstate or ""
    if isinstance(error, (errors.DataCorrupted, errors.IndexCorrupted)):
        return SessionDamagedError("the database says that the tables of the session's journal are corrupted")
    if isinstance(error, errors.DiskFull):
        return StorageError("the disk of the journal is full: nothing of this request was kept. Free space, then send it again")
    if code.startswith(("08", "57P")) or (not code and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))):
        return JournalUnreachableError("the database of the journal cannot be reached: nothing was done. Send it again in a moment")
    if isinstance(error, errors.TooManyConnections):
        return JournalUnreachableError(
            "the database of the journal has no connection left: each session in use takes one (max_connections of PostgreSQL, "
            "max_sessions of telegrad). Nothing was done; send it again in a moment"
        )
    return StorageError(f"the journal cannot be used: PostgreSQL says {code or type(error).__name__}")


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except psycopg.Error as error:
        ours = _as_ours(error)
        log.debug("PostgreSQL: %s", type(error).__name__)
        raise ours from None  # the driver's own may name more than a client should see


class PostgresStore(Store):
    """See ``Store``. A commit without blobs is one exchange with the database."""

    def __init__(self, address: str, session: Kept) -> None:
        """Own the session, made if need be. Raises StorageError."""
        self._address = address
        self._id = session.id
        self._connection: Connection | None = None
        self._owner = secrets.token_bytes(16)
        self._promised: int
        self._anchor: bytes
        row = {**session._asdict(), "owner": self._owner}

        def own(connection: Connection) -> tuple[Any, ...]:
            _prepare(connection)
            return _one(connection, _OWN, row)

        try:
            self._promised, self._anchor = self._ask(own)
        except BaseException:
            self.close()
            raise

    def _ask(self, question: Callable[[Connection], T]) -> T:
        """Ask the database, over a new connection and again where the old one is lost."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with _translated():
                    if self._connection is None or self._connection.closed:
                        self._connection = _connect(self._address)
                    return question(self._connection)
            except JournalUnreachableError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def groups(self) -> Iterator[Group]:
        """See ``Store``."""
        query = "SELECT number, payload, checksum FROM telegrad_groups WHERE session = %s ORDER BY number"
        for row in self._ask(lambda connection: connection.execute(query, (self._id,), binary=True).fetchall()):
            yield Group(*row)

    def anchor(self) -> bytes:
        """See ``Store``."""
        return self._anchor

    def promised(self) -> int:
        """See ``Store``."""
        return self._promised

    def blobs(self) -> dict[str, tuple[int, int]]:
        """See ``Store``."""
        query = "SELECT digest, used, size FROM telegrad_blobs WHERE session = %s"
        rows = self._ask(lambda connection: connection.execute(query, (self._id,)).fetchall())
        return {digest: (used, size) for digest, used, size in rows}

    def blob(self, digest: str) -> bytes | None:
        """See ``Store``."""
        query = "SELECT data FROM telegrad_blobs WHERE session = %s AND digest = %s"
        row = self._ask(lambda connection: connection.execute(query, (self._id, digest), binary=True).fetchone())
        return None if row is None else bytes(row[0])

    def commit(self, group: Group, blobs: Mapping[str, bytes | memoryview]) -> None:
        """See ``Store``."""
        row = {"id": self._id, "owner": self._owner, **group._asdict()}

        def write(connection: Connection) -> None:
            with connection.transaction() if blobs else contextlib.nullcontext():
                for digest, data in blobs.items():
                    blob = {"id": self._id, "digest": digest, "number": group.number, "size": len(data), "data": data}
                    connection.execute(_ADD_BLOB, blob)
                if not connection.execute(_ADD_GROUP, row).rowcount:
                    raise StorageError(_TAKEN)

        self._ask(write)
        self._promised = group.number

    def compact(self, number: int, anchor: bytes, dropped: Sequence[str]) -> None:
        """See ``Store``."""
        row = {"id": self._id, "owner": self._owner, "number": number, "anchor": anchor, "dropped": list(dropped)}
        self._ask(lambda connection: connection.execute(_COMPACT, row))
        self._anchor = anchor

    def close(self) -> None:
        """See ``Store``."""
        if self._connection is not None:
            self._connection.close()


class PostgresJournal(Journal):
    """See ``Journal``."""

    def __init__(self, address: str) -> None:
        """Prepare to use the database at ``address``; nothing is asked of it yet. Raises ArgumentValueError."""
        _parts(address)
        self._address = address
        self._connection: Connection | None = None
        self._claims = 0

    def open(self, session: Kept) -> Store:
        """See ``Journal``."""
        return PostgresStore(self._address, session)

    def claim(self) -> None:
        """See ``Journal``."""
        give_up = time.monotonic() + _CLAIM_SECONDS
        with _translated(), self._claiming() as connection:
            _prepare(connection)
            while not self._lock(connection):
                if time.monotonic() > give_up:
                    raise StorageError(
                        f"another server uses the journal at {shown(self._address)}; give each one a database or schema of its own"
                    )
                time.sleep(_PAUSE_SECONDS)
            query = """
                INSERT INTO telegrad_meta VALUES ('claims', '1')
                ON CONFLICT (name) DO UPDATE SET value = telegrad_meta.value::bigint + 1 RETURNING value::bigint"""
            (self._claims,) = _one(connection, query)

    @contextlib.contextmanager
    def _claiming(self) -> Generator[Connection]:
        """A new connection, which is the one that holds the lock if all goes well with it."""
        connection = _connect(self._address)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    @staticmethod
    def _lock(connection: Connection) -> bool:
        # A machine that is gone gives the lock back soon.
        connection.execute("SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3")
        query = "SELECT pg_try_advisory_lock(%s::int, hashtext(current_schema()))"
        (locked,) = _one(connection, query, (_LOCK_CLASS,))
        return bool(locked)

    def check(self) -> None:
        """See ``Journal``."""
        with _translated():
            if self._connection is not None and not self._connection.closed:
                with contextlib.suppress(psycopg.OperationalError):  # it is lost; the next one may not be
                    self._connection.execute("SELECT 1")
                    return
                self._connection.close()
            with self._claiming() as connection:
                if _one(connection, "SELECT value::bigint FROM telegrad_meta WHERE name = 'claims'") != (self._claims,):
                    raise UnavailableError(_TAKEN)
                if not self._lock(connection):
                    raise JournalUnreachableError("the database of the journal has not let go of this server's old connection yet")

    def note(self, name: str, text: str | None) -> None:
        """See ``Journal``."""
        with _translated(), _connect(self._address) as connection:
            if text is None:
                connection.execute("DELETE FROM telegrad_meta WHERE name = %s", (name,))
            else:
                query = "INSERT INTO telegrad_meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value"
                connection.execute(query, (name, text))

    def notes(self, prefix: str) -> list[str]:
        """See ``Journal``."""
        with _translated(), _connect(self._address) as connection:
            rows = connection.execute("SELECT value FROM telegrad_meta WHERE starts_with(name, %s)", (prefix,))
            return [str(value) for (value,) in rows]

    def sessions(self) -> list[Kept]:
        """See ``Journal``."""
        query = "SELECT id, created, tenant FROM telegrad_sessions ORDER BY created, id"
        with _translated(), _connect(self._address) as connection:
            return [Kept(*row) for row in connection.execute(query).fetchall()]

    def delete(self, session: Kept) -> None:
        """See ``Journal``."""
        with _translated(), _connect(self._address) as connection:
            connection.execute(_FORGET, {"id": session.id})

    def close(self) -> None:
        """See ``Journal``. Wakes a ``check`` that waits for an answer."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.closed:
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=connection.fileno()) as wire:
                wire.shutdown(socket.SHUT_RDWR)
                wire.detach()
            connection.close()
