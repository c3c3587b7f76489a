"""Wherever a bit of a session's files flips, or one of them ends: the session is whole, or says that it is not. Never is it less
than it was without a word, and never is a fault of ours the answer.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telegrad.contract.errors import SessionDamagedError, StorageError
from telegrad.contract.limits import Limits
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.durable import DurableSession, Keeping
from telegrad_service.journal.base import Kept

KEPT = Kept("id", 1.5, "tenant")
FLIPS = 40
"""In each file."""

COMMANDS: list[dict[str, Any]] = [
    {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
    {"command": "create", "id": "u", "buffer": "b"},
    {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
    {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["loss"]},
    {"command": "create", "id": "c", "data": 1},
]
NAMES = {"x", "u", "y", "loss", "c"}
UPLOAD = np.arange(3000.0)


def session_in(folder: Path) -> DurableSession:
    return DurableSession(KEPT, Limits(), Keeping(f"sqlite:///{folder}"), is_new=False)


def batch(session: DurableSession, *commands: dict[str, Any]) -> Any:
    buffers = {"b": UPLOAD} if any("buffer" in command for command in commands) else {}
    return session.do(Work("batch", json.dumps({"commands": commands}).encode(), buffers=buffers))


def made(folder: Path, *, snapshot: bool, killed: bool) -> Path:
    """The files of a session whose process has been killed, or has ended in order."""
    folder.mkdir()
    session = DurableSession(KEPT, Limits(), Keeping(f"sqlite:///{folder}"))
    session.do(Work("open", b'{"seed": 1}'))
    for index, command in enumerate(COMMANDS):
        batch(session, command)
        if snapshot and index == 2:
            assert session._log is not None
            session._save(session._log)
    if killed:
        shutil.copytree(folder, folder.with_name("killed"))
    session.close()
    return folder.with_name("killed") if killed else folder


def state_of(folder: Path) -> str:
    """``whole``, or how the session says that it is not."""
    try:
        session = session_in(folder)
    except (SessionDamagedError, StorageError):
        return "refused"
    try:
        session.do(Work("summary"))
        if session.damage is not None:
            with pytest.raises(SessionDamagedError):
                batch(session, {"command": "backward", "tensors": ["loss"]})
            return "damaged"
        assert set(session.session.names) == NAMES
        assert session.session.names["u"].array.tolist() == UPLOAD.tolist()
        assert json.loads(b"".join(batch(session, {"command": "backward", "tensors": ["loss"]}).pieces))["applied"] == 1
        return "whole"
    except (SessionDamagedError, StorageError):
        return "refused"
    finally:
        session.close()


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("snapshot", [True, False])
def test_no_damage_goes_unnoticed_or_is_a_fault(tmp_path, snapshot, killed):
    files = made(tmp_path / "data", snapshot=snapshot, killed=killed)
    dice = random.Random(f"{snapshot} {killed}")
    seen: Counter[str] = Counter()

    def attempt(name: str, change: Callable[[bytearray], None]) -> None:
        shutil.rmtree(tmp_path / "attempt", ignore_errors=True)
        shutil.copytree(files, tmp_path / "attempt")
        content = bytearray((files / name).read_bytes())
        change(content)
        (tmp_path / "attempt" / name).write_bytes(content)
        seen[state_of(tmp_path / "attempt")] += 1

    def flip(content: bytearray) -> None:
        page = 4096 * dice.randrange(1 + len(content) // 4096)
        # Half of them where SQLite keeps its own: the heads of pages and of rows.
        at = page + dice.choice([dice.randrange(64), dice.randrange(3500, 4096), dice.randrange(4096), dice.randrange(4096)])
        content[at % len(content)] ^= 1 << dice.randrange(8)

    def cut(content: bytearray) -> None:
        del content[dice.randrange(len(content)) :]

    for path in sorted(files.iterdir()):
        for _ in range(FLIPS):
            attempt(path.name, flip)
        for _ in range(5):
            attempt(path.name, cut)
    assert min(seen["whole"], seen["damaged"], seen["refused"]) > 0


def test_a_damaged_mark_costs_nothing(tmp_path):
    files = made(tmp_path / "data", snapshot=False, killed=False)
    (mark,) = files.glob("*.mark")
    content = mark.read_bytes()
    for bit in range(8 * len(content)):
        mark.write_bytes((int.from_bytes(content, "little") ^ (1 << bit)).to_bytes(len(content), "little"))
        session = session_in(files)
        assert session.damage is None
        session.close()


@pytest.mark.parametrize("value", ["7", "'text'", "CAST(x'ff' AS TEXT)", "1e300"])
@pytest.mark.parametrize("place", ["groups SET payload", "groups SET checksum", "blobs SET data", "meta SET value"])
def test_a_value_of_another_kind_is_damage(tmp_path, place, value):
    import sqlite3

    files = made(tmp_path / "data", snapshot=True, killed=False)
    (file,) = files.glob("*.sqlite")
    with sqlite3.connect(file) as database:
        assert database.execute(f"UPDATE {place} = {value}").rowcount
    database.close()
    assert state_of(files) in ("damaged", "refused")
