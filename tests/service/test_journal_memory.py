"""A journal holds little memory, however long it has become."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from pathlib import Path

import pytest

from telegrad_service.journal.base import Group
from telegrad_service.journal.sqlite import SqliteStore


def sqlite_bytes() -> int:
    """What SQLite holds of this process's memory; 0 where Python has another copy of it than the system."""
    name = ctypes.util.find_library("sqlite3")
    if name is None:
        return 0
    library = ctypes.CDLL(name)
    library.sqlite3_memory_used.restype = ctypes.c_int64
    return int(library.sqlite3_memory_used())


def test_a_database_keeps_few_of_its_pages_in_memory(tmp_path: Path):
    before = sqlite_bytes()
    store = SqliteStore(tmp_path / "session.sqlite")
    if sqlite_bytes() == before:
        pytest.skip("Python has an SQLite of its own, which cannot be asked")
    for number in range(1, 400):
        store.commit(Group(number, os.urandom(10_000), b"sum"), {f"blob{number}": os.urandom(5_000)})
    assert sum(len(group.payload) for group in store.groups()) == 399 * 10_000
    assert sqlite_bytes() - before < 600_000
    store.close()
