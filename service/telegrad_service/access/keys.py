"""API keys: made here and shown once; what is kept is their hash.

A key is ``tg_``, an id of 12 hexadecimal digits, ``_``, and 256 random bits. Random bits cannot be guessed from their hash, so a
plain SHA-256 serves; the slow hashes that passwords need would only slow every request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telegrad.contract.errors import ArgumentValueError, ConfigurationError, NotFoundError, UnavailableError
from telegrad.contract.limits import Quotas
from telegrad_service.access.principal import Principal, check_scopes, check_tenant

log = logging.getLogger("telegrad.service")

SECRET_BYTES: Final = 32
FRESH_SECONDS: Final = 1.0
"""A key that was made or revoked by another process is heard of within so long."""

_KEY: Final = re.compile(r"tg_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY: Final = hashlib.sha256(b"").digest()
_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    tenant TEXT NOT NULL,
    scopes TEXT NOT NULL,
    note TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    revoked REAL
) STRICT"""
_QUOTA_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS quotas (tenant TEXT PRIMARY KEY, own TEXT NOT NULL) STRICT"
_SCHEMAS: Final = {"keys": _SCHEMA, "quotas": _QUOTA_SCHEMA}
_BUSY_SECONDS: Final = 5.0
_MAX_NOTE: Final = 200
_MOST_SECONDS: Final = 3_153_600_000
"""A hundred years."""

QUOTA_NAMES: Final = tuple(f.name for f in dataclasses.fields(Quotas))
_MOST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; the key itself is not.

    Attributes:
        id: its public part.
        tenant: whom it speaks for.
        scopes: what it may.
        note: what whoever made it wrote beside it.
        created, expires, revoked: seconds since 1970; the latter two may be None.
    """

    id: str
    tenant: str
    scopes: frozenset[str]
    note: str
    created: float
    expires: float | None
    revoked: float | None

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at that time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class KeyStore:
    """The keys in one SQLite file, readable by its owner alone.

    Attributes:
        trouble: why nobody can be recognised for the moment; None where all is well.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file. Raises ConfigurationError where it is none of ours, or is missing and ``create`` is False."""
        self._path = path
        self.trouble: str | None = None
        if not create and not path.is_file():
            raise ConfigurationError(f"there is no key file at {path}; `telegrad keys create` makes it")
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
            self._database, self._file = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(f"the key file at {path} cannot be used: {error}") from error
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Key, bytes]] = {}
        self._quotas: dict[str, dict[str, int]] = {}
        self._read_at = float("-inf")
        self._data_version = -1

    def _opened(self) -> tuple[sqlite3.Connection, os.stat_result]:
        """A connection to the file that has the name now, and which one that is; written to only where it has no tables yet."""
        database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            there = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            for name, schema in _SCHEMAS.items():
                if name not in there:
                    database.execute(schema)
            return database, self._path.stat()
        except BaseException:
            database.close()
            raise

    @contextlib.contextmanager
    def _changing(self) -> Generator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def create(
        self, tenant: str, scopes: Iterable[str], *, expires_seconds: float | None = None, note: str = ""
    ) -> tuple[Key, str]:
        """A new key, and its text, which cannot be had again. Raises ArgumentValueError."""
        check_tenant(tenant)
        granted = check_scopes(scopes)
        if expires_seconds is not None and not expires_seconds > 0:
            raise ArgumentValueError("a key expires after a positive number of seconds, or never")
        if expires_seconds is not None and expires_seconds > _MOST_SECONDS:
            raise ArgumentValueError(f"a key expires after at most {_MOST_SECONDS:,} seconds, or never: say nothing for that")
        if len(note) > _MAX_NOTE or not note.isprintable():
            raise ArgumentValueError(f"a note has at most {_MAX_NOTE} printable characters")
        now = time.time()
        key_id = secrets.token_hex(6)
        text = f"tg_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        key = Key(key_id, tenant, granted, note, now, None if expires_seconds is None else now + expires_seconds, None)
        row = (key_id, _hash(text), tenant, " ".join(sorted(granted)), note, now, key.expires)
        with self._changing():
            self._database.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", row)
        self._read_at = float("-inf")
        return key, text

    def list(self) -> list[Key]:
        """All keys, oldest first."""
        return sorted((key for key, _ in self._read().values()), key=lambda key: key.created)

    def revoke(self, key_id: str) -> None:
        """Close what the key opens; a running server hears of it within ``FRESH_SECONDS``. Raises NotFoundError."""
        with self._changing():
            done = self._database.execute(
                "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (time.time(), key_id)
            ).rowcount
        self._read_at = float("-inf")
        if not done:
            raise NotFoundError("there is no key of that id; `telegrad keys list` shows all")

    def find(self, text: str) -> Principal | None:
        """Who showed that key; None if it opens nothing. Raises UnavailableError where the file cannot be read."""
        self._refresh()
        if self.trouble is not None:
            raise UnavailableError(self.trouble)
        shape = _KEY.fullmatch(text)
        # An unknown id takes as long as a known one.
        key, expected = self._known.get(shape.group(1), (None, _NOBODY)) if shape else (None, _NOBODY)
        same = hmac.compare_digest(_hash(text), expected)
        if key is None or not same or not key.is_valid(time.time()):
            return None
        return Principal(key.tenant, key.scopes, key.id)

    def check(self) -> None:
        """Raise ConfigurationError where the file has no keys of ours to be read."""
        self._refresh()
        if self.trouble is not None:
            raise ConfigurationError(f"the key file at {self._path} cannot be used: it has no keys of telegrad's")
        self._read_at = float("-inf")

    def current_trouble(self) -> str | None:
        """``trouble``, looked at now."""
        self._refresh()
        return self.trouble

    def quotas(self, tenant: str) -> dict[str, int]:
        """The quotas that a tenant has of its own, by the names of their settings; 0 bounds nothing."""
        self._refresh()
        return self._quotas.get(tenant, {})

    def set_quotas(self, tenant: str, changes: Mapping[str, int | None]) -> dict[str, int]:
        """Give a tenant quotas of its own, or take them back (None); a running server hears of it within ``FRESH_SECONDS``.

        Returns:
            all that it has now.

        Raises ArgumentValueError.
        """
        check_tenant(tenant)
        if not set(changes) <= set(QUOTA_NAMES):
            raise ArgumentValueError(f"quotas are some of {', '.join(QUOTA_NAMES)}")
        if any(value is not None and not 0 <= value <= _MOST for value in changes.values()):
            raise ArgumentValueError(f"a quota is a whole number from 0, which bounds nothing, to {_MOST:,}")
        if changes.get("rate_window_seconds", 1) == 0:
            raise ArgumentValueError("rate_window_seconds is at least 1")
        with self._changing():
            own = {**self._read_quotas().get(tenant, {}), **changes}
            own = {name: value for name, value in own.items() if value is not None}
            self._database.execute("INSERT OR REPLACE INTO quotas VALUES (?, ?)", (tenant, json.dumps(own)))
        self._read_at = float("-inf")
        return self.quotas(tenant)

    def _refresh(self) -> None:
        """Hear of what other processes changed, now and then. The event loop comes by here, so nobody's lock is waited for."""
        if time.monotonic() - self._read_at <= FRESH_SECONDS:
            return
        with self._lock:
            try:
                self._follow()
                self._database.execute("PRAGMA busy_timeout = 0")
                (version,) = self._database.execute("PRAGMA data_version").fetchone()
                if version != self._data_version or self._read_at == float("-inf"):
                    self._known, self._quotas = self._read(), self._read_quotas()
                    self._data_version = version
                self._database.execute(f"PRAGMA busy_timeout = {int(1000 * _BUSY_SECONDS)}")
                self.trouble = None
            except (sqlite3.Error, OSError) as error:
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or self._read_at == float("-inf"):
                    self._note_trouble(error)
            self._read_at = time.monotonic()

    def _follow(self) -> None:
        """Take the file that has the name now: it may have been replaced, as a mounted secret is when it changes."""
        if not os.path.samestat(self._path.stat(), self._file):
            before = self._database
            self._database, self._file = self._opened()
            self._data_version = -1
            before.close()

    def _note_trouble(self, error: Exception) -> None:
        """What was known may not hold any more: a key may have been revoked."""
        if self.trouble is None:
            log.error("the key file at %s cannot be read: %s; nobody is let in", self._path, error)
        self.trouble = "the server cannot read its file of keys; its log says why"
        self._data_version = -1

    def _read_quotas(self) -> dict[str, dict[str, int]]:
        return {tenant: json.loads(own) for tenant, own in self._database.execute("SELECT tenant, own FROM quotas")}

    def _read(self) -> dict[str, tuple[Key, bytes]]:
        rows = self._database.execute("SELECT id, tenant, scopes, note, created, expires, revoked, hash FROM keys")
        return {
            key_id: (Key(key_id, tenant, frozenset(scopes.split()), note, created, expires, revoked), digest)
            for key_id, tenant, scopes, note, created, expires, revoked, digest in rows
        }

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
