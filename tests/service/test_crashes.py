"""A simulated disk that loses whatever was not synced: what was acknowledged is there after every crash, whole and in order.

Between two syncs the disk may have written any part of what it was given: nothing of it, all of it, or a group that is cut off or
holds what stood elsewhere. The faults planted at the end are found, so that the proof can fail.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from telegrad_service.journal import log as journal
from telegrad_service.journal.base import Group, Store
from telegrad_service.journal.log import Log


class Crash(Exception):  # noqa: N818 - no error: the power went
    """The power went."""


class AtOnce:
    """In place of the pool of threads that commit: a million histories need none, and are the same every time."""

    def submit(self, write: Callable[..., None], *arguments: Any) -> Future[None]:
        done: Future[None] = Future()
        try:
            done.set_result(write(*arguments))
        except Crash as crash:
            done.set_exception(crash)
        return done


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_committer", AtOnce())


class Disk(Store):
    """A store on a disk whose power goes after so many operations."""

    atomic = False

    def __init__(self, dice: random.Random, operations: int, sync_every: int = 1) -> None:
        self.dice, self.left, self.sync_every = dice, operations, sync_every
        self.groups_kept: dict[int, Group] = {}
        self.blobs_kept: dict[str, bytes] = {}
        self.unsynced: list[tuple[str, Any]] = []
        self.start = b""
        self.commits = 0
        self.harmed = False

    def _operate(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash

    def groups(self) -> Iterator[Group]:
        yield from [self.groups_kept[number] for number in sorted(self.groups_kept)]

    def anchor(self) -> bytes:
        return self.start

    def promised(self) -> int:
        return 0

    def blobs(self) -> dict[str, tuple[int, int]]:
        return {digest: (0, len(data)) for digest, data in self.blobs_kept.items()}

    def blob(self, digest: str) -> bytes | None:
        return self.blobs_kept.get(digest)

    def _put(self, kind: str, value: Any) -> None:
        if kind == "blob":
            self.blobs_kept[value[0]] = value[1]
        else:
            self.groups_kept[value.number] = value

    def commit(self, group: Group, blobs: Mapping[str, bytes | memoryview]) -> None:
        for digest, data in blobs.items():
            self._operate()
            self.unsynced.append(("blob", (digest, bytes(data))))
        self._operate()
        self.unsynced.append(("group", group))
        self._operate()
        self.commits += 1
        if self.commits % self.sync_every == 0:
            self.sync()

    def sync(self) -> None:
        for kind, value in self.unsynced:
            self._put(kind, value)
        self.unsynced.clear()

    def compact(self, number: int, anchor: bytes, dropped: Sequence[str]) -> None:
        self._operate()
        self.start = anchor
        self.groups_kept = {n: group for n, group in self.groups_kept.items() if n >= number}
        self.blobs_kept = {digest: data for digest, data in self.blobs_kept.items() if digest not in dropped}

    def close(self) -> None:
        """Nothing to let go of."""

    def power_again(self) -> Disk:
        """What the disk holds when the power is back."""
        dice, found = self.dice, Disk(self.dice, 10**9)
        found.groups_kept, found.blobs_kept, found.start = dict(self.groups_kept), dict(self.blobs_kept), self.start
        for kind, value in self.unsynced:
            fate = dice.randrange(4)
            found.harmed |= fate < 3
            if fate == 0:
                continue
            if kind == "group" and fate == 1:
                value = value._replace(payload=value.payload[: dice.randrange(len(value.payload))])
            elif kind == "group" and fate == 2 and self.groups_kept:
                value = value._replace(payload=dice.choice(list(self.groups_kept.values())).payload)
            found._put(kind, value)
        return found


def violation(seed: int, sync_every: int = 1) -> str | None:
    """Write a random history until the power goes; what is wrong when it is back, if anything is."""
    dice = random.Random(seed)
    disk = Disk(dice, dice.randrange(60), sync_every)
    log = Log(disk)
    log.read()
    said: dict[int, tuple[int, bytes]] = {}
    acknowledged = 0
    since = 0
    try:
        while True:
            for _ in range(dice.randint(1, 3)):
                body = dice.randbytes(dice.randrange(60))
                blobs = [log.keep(dice.randbytes(9))] if dice.random() < 0.3 else []
                value = dice.randrange(10**6)
                said[log.add({"kind": "work", "value": value, "blobs": blobs}, body)] = value, body
            if dice.random() < 0.15:
                log.snapshot({"value": -1}, [dice.randbytes(5)], ())
                since = log.last
            else:
                log.commit()
            acknowledged = log.last
    except Crash:
        pass
    there = disk.power_again()
    found = Log(there).read()
    if found.damage is not None:
        return f"damage is seen where there is none: {found.damage}"
    if found.torn and not there.harmed:
        return "the end is left out though it is whole"
    numbers = [entry.head["number"] for entry in found.entries]
    works = {e.head["number"]: (e.head["value"], e.body) for e in found.entries if e.head["kind"] == "work"}
    first = numbers[0] if numbers else 1
    if numbers != list(range(first, first + len(numbers))):
        return "entries are missing or in disorder"
    if first > 1 and found.entries[0].head["kind"] != "snapshot":
        return "it does not begin with a snapshot"
    if (numbers[-1] if numbers else 0) < max(acknowledged, since):
        return "something that was acknowledged is lost"
    if any(said.get(number) != what for number, what in works.items()):
        return "something is there that was never said"
    return None


def count(points: int, **faults: Any) -> int:
    return sum(violation(seed, **faults) is not None for seed in range(points))


def test_no_crash_point_loses_or_invents_anything():
    assert [seed for seed in range(4000) if violation(seed) is not None] == []


@pytest.mark.soak
def test_no_crash_point_of_a_million_does():
    assert count(1_000_000) == 0


def test_a_sync_of_every_eighth_commit_is_found():
    assert count(300, sync_every=8) > 20


def test_an_acknowledgement_before_the_sync_is_found(monkeypatch):
    def early(self: Log) -> None:
        self.durable = self.last
        self._commit = None

    monkeypatch.setattr(Log, "finish_commit", early)
    monkeypatch.setattr(Disk, "sync", lambda self: None)
    assert count(300) > 20


def test_a_snapshot_that_is_read_as_if_it_needed_what_came_before_it_is_found(monkeypatch):
    monkeypatch.setattr(journal, "_NONE_ID", b"none")
    assert count(1000) > 5


def test_a_missing_checksum_is_found(monkeypatch):
    monkeypatch.setattr(journal, "checksum", lambda before, number, payload: b"")
    assert count(2000) > 5
