"""A session comes back from its journal as it was, whatever ended the process, and says so where it cannot."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telegrad.contract import codec
from telegrad.contract.errors import (
    ArgumentError,
    DeadlineError,
    KeyReusedError,
    SequenceError,
    SessionDamagedError,
    StorageError,
    UnavailableError,
)
from telegrad.contract.limits import Limits
from telegrad_service.hosts import durable, verbs
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.durable import ANY, LOOKS, STEPS, Drop, DurableSession, Keeping
from telegrad_service.journal import log as journal_log
from telegrad_service.journal.base import Kept
from telegrad_service.journal.log import Entry, pack_all, unpack
from telegrad_service.journal.postgres import PostgresStore
from telegrad_service.journal.sqlite import SqliteJournal, SqliteStore
from telegrad_service.session import snapshot
from tests.histories import History, everything

KEPT = Kept("id", 1.5, "tenant")


class Home:
    """A journal, and the session in it."""

    full_disk = "the disk of the journal is full"

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.keeping = Keeping(url, **settings)
        self.session = self.opened()

    def opened(self, drop: Drop | None = None) -> DurableSession:
        self.session = DurableSession(KEPT, Limits(), self.keeping, drop=drop)
        return self.session

    def killed(self) -> DurableSession:
        """As after ``kill -9``: what was not committed is gone."""
        self.session.close()
        return self.opened()

    def batch(self, *commands: dict[str, Any], **once: Any) -> Any:
        answer = self.session.do(Work("batch", json.dumps({"commands": commands}).encode(), **once))
        return json.loads(b"".join(answer.pieces))

    @property
    def database(self) -> Path:
        (found,) = Path(self.url.removeprefix("sqlite://")).glob("*.sqlite")
        return found

    def ask(self, statement: str) -> Any:
        """Rows of a statement that nobody of ours makes; tables are called ``groups`` and ``blobs``, a payload ``{zeros}``."""
        if self.url.startswith("sqlite"):
            with sqlite3.connect(self.database) as database:
                rows = database.execute(statement.replace("{zeros:", "zeroblob(").replace("}", ")")).fetchall()
            database.close()
            return rows
        import psycopg

        statement = statement.replace("{zeros:", "decode(repeat('00', (").replace("}", ")::int), 'hex')")
        for name in ("groups", "blobs"):
            statement = statement.replace(f" {name}", f" telegrad_{name}")
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def journal_bytes(self) -> int:
        ((groups,),) = self.ask("SELECT sum(length(payload)) FROM groups")
        ((blobs,),) = self.ask("SELECT coalesce(sum(size), 0) FROM blobs")
        return int(groups) + int(blobs)


STORES = {"sqlite": SqliteStore, "postgresql": PostgresStore}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Any:
    """The class of each store in turn."""
    return STORES[request.param]


@pytest.fixture
def new_home(store: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Home]]:
    """Makes homes in a journal of that kind."""
    made: list[Home] = []
    url = f"sqlite:///{tmp_path}" if store is SqliteStore else request.getfixturevalue("postgres").url()

    def make(**settings: Any) -> Home:
        made.append(Home(url, **settings))
        return made[-1]

    yield make
    for home in made:
        home.session.close()


@pytest.fixture
def home(new_home: Callable[..., Home]) -> Home:
    made = new_home()
    made.session.do(Work("open", b'{"seed": 3}'))
    return made


@pytest.fixture
def sqlite_home(tmp_path: Path) -> Iterator[Home]:
    made = Home(f"sqlite:///{tmp_path}")
    made.session.do(Work("open", b'{"seed": 3}'))
    yield made
    made.session.close()


CREATE = {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True}
SQUARE = {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]}
SUM = {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["loss"]}
BACKWARD = {"command": "backward", "tensors": ["loss"]}
READ = {"command": "read", "tensor": "x.grad"}


def test_every_verb_is_known_to_change_sessions_or_not_to():
    changes = {"open", "seed", "create", "create_many", "set", "release", "apply", "backward", "grad", "batch", "store_program"}
    changes |= {"delete_program", "run"}
    assert set(verbs.VERBS) == changes | {verb for verb in LOOKS if verb in verbs.VERBS}
    assert set(verbs.VERBS) >= STEPS


def test_a_killed_session_goes_on_with_equal_bits(home):
    home.batch(CREATE, SQUARE, SUM)
    home.killed()
    assert home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]
    home.killed()
    assert home.batch(READ)["results"][0]["data"] == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("seed", range(12))
def test_any_history_comes_back_with_and_without_snapshots(new_home, seed):
    home, history = new_home(snapshot_seconds=0.01), History(seed)
    home.session.do(Work("open"))
    for number in range(25):
        commands = history.batch(home.session.session)
        home.session.session.programs.clear()  # the history stored them behind the journal's back
        body = json.dumps({"commands": [c for c in commands if c["command"] != "run"]}).encode()
        home.session.do(Work("batch", body, media_type=codec.SAFETENSORS_MEDIA_TYPE))
        if number % 7 == 0:
            home.session.rest()
        if number % 5 == 0:
            before = everything(home.session.session)
            home.killed()
            assert everything(home.session.session) == before
    home.session.close()


def test_looking_at_a_view_whose_history_is_new_counts_as_a_change(home):
    home.batch(
        {**CREATE, "data": [[1.0, 2.0], [3.0, 4.0]]},
        {"command": "apply", "op": "mul", "inputs": ["x", 2], "outputs": ["base"]},
        {"command": "apply", "op": "getitem", "inputs": ["base"], "parameters": {"index": [0]}, "outputs": ["row"]},
        {"command": "apply", "op": "mul_", "inputs": ["base", 3]},
    )
    home.session.do(Work("list_tensors", arguments={"after": None, "limit": 10}))
    before = everything(home.session.session)
    order = [t.current_node().number for t in home.session.session.names.values() if t.current_node()]
    home.killed()
    assert everything(home.session.session) == before
    after = [t.current_node().number for t in home.session.session.names.values() if t.current_node()]
    assert np.argsort(after).tolist() == np.argsort(order).tolist()


def test_a_batch_of_reads_is_not_written_and_one_that_has_a_number_is(home):
    home.batch({"command": "create", "id": "x", "data": [1.0, 2.0]})
    before = home.session._log.last
    read = {"command": "read", "tensor": "x"}

    looked = home.batch(read, {**read, "encoding": "base64"})
    assert [r["index"] for r in looked["results"]] == [0, 1]
    assert home.session._log.last == before

    home.batch(read, client="reader-of-this-test", number=1)
    home.batch(read, {"command": "release", "tensors": ["x"]})
    assert home.session._log.last == before + 2
    home.killed()
    assert home.batch({"command": "seed", "seed": 1}, client="reader-of-this-test", number=2)["applied"] == 1
    with pytest.raises(SequenceError):
        home.batch(read, client="reader-of-this-test", number=4)


@pytest.mark.parametrize(
    "commands", [None, {}, [None], ["read"], [{}], [{"command": "read"}], [{"command": "read", "tensor": "nobody"}]]
)
def test_a_batch_that_reads_nothing_right_fails_as_any_other(home, commands):
    body = json.dumps({"commands": commands}).encode()
    try:
        answer = home.session.do(Work("batch", body))
    except ArgumentError:
        return
    assert answer.status in (404, 422)


def test_damage_lets_batches_of_reads_through(sqlite_home):
    sqlite_home.batch({"command": "create", "id": "x", "data": [1.0, 2.0]})
    sqlite_home.session.damage = "planted"

    assert sqlite_home.batch({"command": "read", "tensor": "x"})["results"][0]["data"] == [1.0, 2.0]
    with pytest.raises(SessionDamagedError):
        sqlite_home.batch({"command": "release", "tensors": ["x"]})


def test_a_second_epoch_over_the_same_data_journals_under_a_kilobyte_a_step(home):
    batches = [np.random.default_rng(i).normal(size=(64, 64)).astype(np.float32) for i in range(8)]
    home.batch({"command": "apply", "op": "zeros", "inputs": [], "parameters": {"size": [64, 10]}, "outputs": ["w"]})
    counter = 0

    def step(array: Any) -> None:
        nonlocal counter
        names = [f"c4f1a9.{counter + i}" for i in range(42)]
        counter += 42
        commands: list[Any] = [{"command": "create", "id": names[0], "buffer": "b"}]
        commands += [{"command": "apply", "op": "sin", "inputs": [names[i]], "outputs": [names[i + 1]]} for i in range(40)]
        commands += [{"command": "read", "tensor": names[40]}, {"command": "release", "tensors": names[:41]}]
        home.session.do(Work("batch", json.dumps({"commands": commands}).encode(), buffers={"b": array.copy()}))

    for array in batches:
        step(array)
    first = home.journal_bytes()
    for array in batches:
        step(array)
    assert (home.journal_bytes() - first) / len(batches) < 1000


def test_long_literals_in_json_are_kept_once(home):
    numbers = np.random.default_rng(0).normal(size=2000).tolist()
    home.batch({"command": "create", "id": "a", "data": numbers})
    first = home.journal_bytes()
    home.batch({"command": "create", "id": "b", "data": numbers})
    assert home.journal_bytes() - first < 1000
    home.killed()
    names = home.session.session.names
    assert names["b"].array.tolist() == names["a"].array.tolist() == np.asarray(numbers, np.float32).tolist()


def test_a_snapshot_makes_what_came_before_superfluous(home):
    home.batch(CREATE, SQUARE, SUM)
    for _ in range(50):
        home.batch({"command": "create", "id": "big", "data": np.random.default_rng(0).normal(size=300).tolist()})
        home.batch({"command": "release", "tensors": ["big"]})
    home.session.stop()
    assert home.ask("SELECT count(*) FROM groups") == [(1,)]
    home.opened()
    assert home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]


def test_a_snapshot_leaves_nothing_of_the_one_before_but_uploads(home):
    home.batch(CREATE, SQUARE, SUM)
    upload = np.arange(300.0)
    work = {"commands": [{"command": "create", "id": "big", "buffer": "b"}, {"command": "release", "tensors": ["big"]}]}
    home.session.do(Work("batch", json.dumps(work).encode(), buffers={"b": upload}))
    kept: list[int] = []
    for again in range(6):
        home.batch({"command": "apply", "op": "add_", "inputs": ["y", 1], "grad_enabled": False})
        home.session._save(home.session._log)
        if again == 3:
            home.killed()
        ((count,),) = home.ask("SELECT count(*) FROM blobs")
        kept.append(count)

    assert len(set(kept)) == 1, kept
    assert home.session._log.keep(upload.data.cast("B")) in home.session._log._known
    home.killed()
    assert home.batch({"command": "read", "tensor": "y"})["results"][0]["data"] == [7.0, 10.0, 15.0]


def test_a_process_that_ends_between_a_snapshot_and_the_tidying_after_it_loses_nothing(home, store, monkeypatch):
    class PowerFailure(BaseException):
        pass

    def end(*_: Any) -> None:
        raise PowerFailure

    home.batch(CREATE, SQUARE, SUM)
    with monkeypatch.context() as patch:
        patch.setattr(store, "compact", end)
        with pytest.raises(PowerFailure):
            home.session.stop()
    home.session.close()
    home.opened()
    assert home.session.damage is None
    assert home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]
    home.killed()
    assert home.batch(READ)["results"][0]["data"] == [2.0, 4.0, 6.0]


def test_data_that_is_used_again_stays_when_a_snapshot_drops_the_rest(home, monkeypatch):
    monkeypatch.setattr(journal_log, "SPARE_BYTES", 20_000)
    data = [np.full(1000, float(i)) for i in range(4)]

    def upload(*numbers: int) -> None:
        for i in numbers:
            commands = [{"command": "create", "id": "x", "buffer": "b"}, {"command": "release", "tensors": ["x"]}]
            home.session.do(Work("batch", json.dumps({"commands": commands}).encode(), buffers={"b": data[i].copy()}))

    upload(0, 1, 2, 3, 0)
    home.killed()  # the order of use is not written down by itself: it is read from the requests
    home.session.stop()
    home.opened()
    kept = home.ask("SELECT size FROM blobs WHERE size = 8000")
    assert len(kept) == 2
    before = home.journal_bytes()
    upload(0, 3)
    assert home.journal_bytes() - before < 8000
    upload(1)
    assert home.journal_bytes() - before > 8000


def test_single_changes_are_on_the_disk_before_a_read_shows_them_or_with_the_rest(home):
    home.session.do(Work("create", json.dumps({"id": "a", "data": [1.0]}).encode()))
    answer = home.session.do(Work("read", arguments={"reference": "a", "data": True, "encoding": "json"}))
    headers = dict(answer.headers)
    assert headers["Telegrad-Seq"] == headers["Telegrad-Durable-Seq"]
    answer = home.session.do(Work("create", json.dumps({"id": "b", "data": [1.0]}).encode()))
    assert int(dict(answer.headers)["Telegrad-Durable-Seq"]) < int(dict(answer.headers)["Telegrad-Seq"])
    assert home.session.is_restless
    home.session.rest()
    assert not home.session.is_restless
    home.killed()
    assert set(home.session.session.names) == {"a", "b"}


def test_with_every_single_changes_are_on_the_disk_when_they_are_answered(new_home):
    home = new_home(durability="every")
    home.session.do(Work("open"))
    home.session.do(Work("create", json.dumps({"id": "a", "data": [1.0]}).encode()))
    assert set(home.killed().session.names) == {"a"}
    home.session.close()


# Once -------------------------------------------------------------------------------------------------------------------------


def test_a_number_is_done_once_across_restarts_and_snapshots(home):
    home.batch(CREATE, SQUARE, SUM, client="c" * 16, number=1)
    first = home.batch({**BACKWARD, "retain_graph": True}, READ, client="c" * 16, number=2)
    for again in (lambda: None, home.killed, home.session.stop):
        again()
        if home.session._log is None:
            home.opened()
        work = Work("batch", json.dumps({"commands": [{**BACKWARD, "retain_graph": True}, READ]}).encode())
        answer = home.session.do(Work("batch", work.body, client="c" * 16, number=2))
        assert json.loads(b"".join(answer.pieces)) == first
        assert ("Idempotency-Replayed", "true") in answer.headers
    assert home.batch(READ)["results"][0]["data"] == [2.0, 4.0, 6.0]


def test_numbers_out_of_order_are_refused_and_name_the_next(home):
    home.batch(CREATE, client="c" * 16, number=1)
    with pytest.raises(SequenceError, match="next number is 2") as caught:
        home.batch(SQUARE, client="c" * 16, number=3)
    assert caught.value.extra["expected"] == 2
    with pytest.raises(SequenceError, match="another request"):
        home.batch(SQUARE, client="c" * 16, number=1)
    home.batch(SQUARE, client="d" * 16, number=1)


def test_a_key_is_done_once_and_kept_across_restarts(home):
    body = json.dumps({"data": [1.0]}).encode()
    first = home.session.do(Work("create", body, key="k"))
    home.session.rest()
    home.killed()
    again = home.session.do(Work("create", body, key="k"))
    assert (again.pieces, again.status, again.created) == (first.pieces, first.status, first.created)
    assert list(home.session.session.names) == [first.created]
    with pytest.raises(KeyReusedError):
        home.session.do(Work("create", json.dumps({"data": [2.0]}).encode(), key="k"))


def test_a_key_is_forgotten_after_its_time(new_home):
    home = new_home(key_seconds=0.001)
    body = json.dumps({"data": [1.0]}).encode()
    home.session.do(Work("create", body, key="k"))
    time.sleep(0.01)
    again = home.session.do(Work("create", json.dumps({"data": [2.0, 3.0]}).encode(), key="k"))
    assert ("Idempotency-Replayed", "true") not in again.headers
    home.session.close()


def test_an_error_is_the_answer_to_its_repeat_too(home):
    with pytest.raises(ArgumentError):
        home.session.do(Work("apply", b'{"op": "nothing", "inputs": []}', key="k"))
    again = home.session.do(Work("apply", b'{"op": "nothing", "inputs": []}', key="k"))
    assert again.status == 422
    assert again.media_type == codec.PROBLEM_MEDIA_TYPE


# What cannot be done again ----------------------------------------------------------------------------------------------------


WAITING = (
    {"command": "create", "id": "x", "data": [1.0, 2.0], "requires_grad": True},
    {"command": "apply", "op": "exp", "inputs": ["x"], "outputs": ["y"]},
    {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
    {"command": "backward", "tensors": ["s"], "callbacks": [{"on": "y", "kind": "tensor", "grads": ["g"], "pauses": "w"}]},
)


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_backward_that_waits_still_waits_after_a_restart(home, end):
    home.batch(*WAITING)
    if end == "stopped":
        home.session.stop()
        home.opened()
    else:
        home.killed()
    (found,) = home.batch({"command": "resume", "walk": "w"}, {"command": "read", "tensor": "x.grad"})["results"]
    assert found["data"] == pytest.approx([2.7182817, 7.389056])
    home.session.stop()
    home.opened()
    assert home.session.session.summary()["tensors"] == 4


def test_a_backward_that_waits_is_given_up_for_a_snapshot_that_is_overdue_by_far(new_home, caplog):
    home = new_home(snapshot_seconds=0.05)
    home.batch(*WAITING)
    home.session._replay_seconds = 0.3
    assert not home.session._is_due(home.session._log)
    home.session._replay_seconds = 0.5
    home.session.rest()
    assert "1 backward(s) that wait are given up" in caplog.text
    assert home.batch({"command": "resume", "walk": "w"})["failed"] == 0
    home.killed()
    assert home.session.session.summary()["tensors"] == 4


def test_runs_that_the_clock_stopped_come_back_as_far_as_they_were(home):
    program = {
        "commands": [{"command": "apply", "op": "add_", "inputs": ["x", 1]}],
        "inputs": ["x"],
    }
    made = json.loads(b"".join(home.session.do(Work("store_program", json.dumps(program).encode())).pieces))
    home.batch({"command": "create", "id": "x", "data": [0.0]})
    body = json.dumps({"inputs": {"x": "x"}, "times": 100_000, "seconds": 0.05}).encode()
    with pytest.raises(DeadlineError):
        home.session.do(Work("run", body, {"program": made["id"]}))
    reached = home.session.session.names["x"].array.tolist()
    assert 0 < reached[0] < 100_000
    home.killed()
    assert home.session.session.names["x"].array.tolist() == reached


def test_a_request_that_ended_its_process_is_left_out_for_good(home):
    home.batch(CREATE, turn="one")
    home.batch(SQUARE, turn="two", client="c" * 16, number=1)
    home.session.close()
    home.opened(Drop("two"))
    assert list(home.session.session.names) == ["x"]
    home.killed()
    assert list(home.session.session.names) == ["x"]
    assert home.batch(SQUARE, turn="three", client="c" * 16, number=1)["applied"] == 1


def test_only_the_very_last_request_is_ever_left_out(home):
    home.batch(CREATE, turn="one")
    home.batch(SQUARE, turn="two")
    home.session.close()
    assert set(home.opened(Drop("one")).session.names) == {"x", "y"}
    home.session.close()
    assert set(home.opened(Drop(ANY)).session.names) == {"x"}


def test_a_request_that_took_too_long_is_answered_so_when_it_is_repeated(home):
    home.batch(SQUARE, turn="one", client="c" * 16, number=1)
    home.session.close()
    home.opened(Drop("one", overdue=True))
    assert home.batch(SQUARE, client="c" * 16, number=1)["type"].endswith(":deadline")


# Disks ------------------------------------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_the_step_and_leaves_the_session_as_it_was(home, store, monkeypatch):
    home.batch(CREATE, SQUARE, SUM)

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", full)
        with pytest.raises(StorageError):
            home.batch(BACKWARD, client="c" * 16, number=1)
    assert home.batch(BACKWARD, READ, client="c" * 16, number=1)["results"][0]["data"] == [2.0, 4.0, 6.0]


def test_a_database_that_may_not_grow_refuses_and_recovers(sqlite_home):
    sqlite_home.batch(CREATE)
    pages = sqlite_home.session._log._store._database.execute("PRAGMA page_count").fetchone()[0]
    sqlite_home.session._log._store._database.execute(f"PRAGMA max_page_count = {pages + 2}")
    large = {"command": "create", "id": "large", "data": np.random.default_rng(0).normal(size=20_000).tolist()}
    with pytest.raises(StorageError, match="full"):
        sqlite_home.batch(large)
    assert sqlite_home.batch(SQUARE)["applied"] == 1
    assert set(sqlite_home.killed().session.names) == {"x", "y"}


LARGE = {"commands": [{"command": "create", "id": "large", "buffer": "b"}]}


def upload(home: Home, nbytes: int) -> None:
    home.session.do(Work("batch", json.dumps(LARGE).encode(), buffers={"b": np.random.default_rng(0).normal(size=nbytes // 8)}))


def test_a_file_system_that_is_full_refuses_the_request_and_recovers(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here; the next test fills a file")
    try:
        home = Home(f"sqlite:///{small}")
        home.session.do(Work("open"))
        home.batch(CREATE, SQUARE, SUM)
        (small / "stranger").write_bytes(bytes(2**20))
        for _ in range(2):
            with pytest.raises(StorageError, match="full") as caught:
                upload(home, 4 * 2**20)
            assert (caught.value.status, caught.value.code) == (507, "storage")
        assert home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]
        (small / "stranger").write_bytes(bytes(shutil.disk_usage(small).free + 2**20 - 10_000))
        journal = SqliteJournal(small)
        with pytest.raises(StorageError, match="full"):  # what /readyz says
            journal.check()
        (small / "stranger").unlink()
        journal.check()
        assert home.batch(READ)["applied"] == 1
        assert set(home.killed().session.names) == {"x", "y", "loss"}
        home.session.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_file_that_may_not_grow_refuses_the_request_and_recovers(sqlite_home):
    resource = pytest.importorskip("resource")
    sqlite_home.batch(CREATE, SQUARE, SUM)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot be used") as caught:
            upload(sqlite_home, 4 * 2**20)
        assert caught.value.status == 507
        assert sqlite_home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    upload(sqlite_home, 4 * 2**20)
    assert set(sqlite_home.killed().session.names) == {"x", "y", "loss", "large"}


def test_what_was_answered_stays_when_the_disk_is_full_after_the_answer(home, store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", full)
        home.session.do(Work("create", json.dumps({"id": "a", "data": [1.0]}).encode()))
        home.session.rest()
        with pytest.raises(StorageError):
            home.batch(CREATE)
    assert set(home.session.session.names) == {"a"}
    home.batch(CREATE)
    assert set(home.killed().session.names) == {"a", "x"}


def stopped(*_: Any, **__: Any) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def full(*_: Any) -> None:
    raise StorageError("the disk of the journal is full")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE groups SET payload = {zeros:length(payload)} WHERE number = 2",
        "UPDATE groups SET payload = substr(payload, 1, 20) WHERE number = 3",
        "DELETE FROM groups WHERE number = 2",
        "DELETE FROM groups WHERE number = 3",
        "UPDATE groups SET checksum = {zeros:16} WHERE number = 3",
        "DELETE FROM blobs",
        "UPDATE blobs SET data = {zeros:length(data)}",
    ],
)
def test_damage_is_a_clear_state_and_what_came_before_can_be_read(home, statement):
    home.session.do(Work("batch", json.dumps({"commands": [CREATE]}).encode()))
    buffers = {"b": np.arange(3.0)}
    home.session.do(Work("batch", b'{"commands": [{"command": "create", "id": "z", "buffer": "b"}]}', buffers=buffers))
    home.session.close()
    home.ask(statement)
    home.opened()
    assert home.session.damage is not None
    assert "z" not in home.session.session.names
    with pytest.raises(SessionDamagedError, match="read as it was before"):
        home.batch(SQUARE)
    if "x" in home.session.session.names:
        answer = home.session.do(Work("read", arguments={"reference": "x", "data": True, "encoding": "json"}))
        assert json.loads(answer.pieces[0])["data"] == [1.0, 2.0, 3.0]


def test_frames_that_sqlite_leaves_out_at_the_end_are_noticed(sqlite_home):
    sqlite_home.batch(CREATE)
    log = Path(f"{sqlite_home.database}-wal")
    size = log.stat().st_size
    sqlite_home.batch(SQUARE)
    kept = bytearray(log.read_bytes())
    database = sqlite_home.database.read_bytes()
    sqlite_home.session.close()
    kept[size + 30] ^= 255
    sqlite_home.database.write_bytes(database)
    log.write_bytes(kept)
    Path(f"{sqlite_home.database}-shm").unlink(missing_ok=True)
    sqlite_home.opened()
    assert list(sqlite_home.session.session.names) == ["x"]
    assert sqlite_home.session.damage is not None
    assert "were committed" in sqlite_home.session.damage


def test_a_file_that_is_no_database_says_so(sqlite_home):
    sqlite_home.session.close()
    sqlite_home.database.write_bytes(os.urandom(8192))
    with pytest.raises(SessionDamagedError, match="damaged"):
        sqlite_home.opened()
    sqlite_home.database.unlink()
    sqlite_home.opened()


def test_another_environment_is_reported(home, monkeypatch, caplog):
    home.batch(CREATE)
    monkeypatch.setattr(durable, "differences", lambda before: ["numpy was 1.26, is 2.1"])
    home.killed()
    assert home.session.inexact == "numpy was 1.26, is 2.1"
    assert "numpy was 1.26" in caplog.text


def test_a_folder_has_one_server_at_a_time(tmp_path):
    first, second = SqliteJournal(tmp_path), SqliteJournal(tmp_path)
    first.claim()
    with pytest.raises(StorageError, match="another server"):
        second.claim()
    first.close()
    second.claim()
    second.close()


def test_a_request_survives_being_written_down_whatever_it_is():
    """Sizes on both sides of every window that an entry may be deflated in, after entries of any size, and snapshots between."""
    dice = random.Random(0)
    sizes = [*range(0, 140, 7), *[max(0, 2**n + d) for n in range(8, 18) for d in (-400, -301, -300, -299, -40, 0, 1)]]
    dice.shuffle(sizes)
    kinds = ["snapshot" if dice.random() < 0.1 else "work" for _ in sizes]
    bodies = [dice.randbytes(size // 2) + b"abc" * (size // 6) for size in sizes]
    rows = zip(kinds, bodies, strict=True)
    entries = [Entry({"kind": kind, "number": i}, body) for i, (kind, body) in enumerate(rows)]
    before, read = b"", b""
    for start in range(0, len(entries), 3):
        group = entries[start : start + 3]
        payload, before = pack_all(group, before)
        found, read = unpack(payload, read)
        assert found == group
    assert read == before


# Files that are gone, or another version's --------------------------------------------------------------------------------------


def test_changes_to_a_session_whose_file_is_gone_are_refused_and_it_can_be_read(sqlite_home, tmp_path):
    sqlite_home.batch(CREATE, SQUARE, SUM)
    away = tmp_path / "away"
    file = sqlite_home.database
    file.rename(away)
    with pytest.raises(StorageError, match="deleted, moved or replaced"):
        sqlite_home.batch(BACKWARD)
    assert sqlite_home.batch({"command": "read", "tensor": "x"})["results"][0]["data"] == [1.0, 2.0, 3.0]
    away.rename(file)
    assert sqlite_home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]


def test_a_file_that_goes_while_a_request_is_done_fails_the_request(sqlite_home, monkeypatch):
    sqlite_home.batch(CREATE)
    looked = SqliteStore.check

    def goes(store: SqliteStore) -> None:
        looked(store)
        store._path.unlink(missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "check", goes)
        with pytest.raises(StorageError, match="deleted, moved or replaced"):
            sqlite_home.batch(SQUARE)
    with pytest.raises(SessionDamagedError, match="nothing of this session"):
        sqlite_home.batch({"command": "read", "tensor": "x"})


@pytest.mark.parametrize("mark", [False, True])
def test_a_session_that_was_there_does_not_come_back_empty(sqlite_home, mark):
    sqlite_home.session.close()
    database = sqlite_home.database
    database.unlink()
    if not mark:
        Path(f"{database}.mark").unlink()
    again = DurableSession(KEPT, Limits(), sqlite_home.keeping, is_new=False)
    for verb in ("summary", "open", "batch"):
        with pytest.raises(SessionDamagedError, match="nothing of this session"):
            again.do(Work(verb, b'{"commands": []}'))
    again.close()


def test_a_failure_of_any_kind_to_commit_leaves_the_session_as_its_journal(home, store, monkeypatch):
    home.batch(CREATE)

    def fail(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", fail)
        with pytest.raises(RuntimeError):
            home.batch(SQUARE)
    assert set(home.session.session.names) == {"x", "y"}  # until it is looked at
    assert home.batch(SQUARE, SUM)["applied"] == 2
    assert set(home.killed().session.names) == {"x", "y", "loss"}


@pytest.mark.parametrize("change", [{"format": 2}, {"kind": "invention"}])
@pytest.mark.parametrize("snapshot", [False, True])
def test_a_journal_of_a_later_format_is_refused_and_left_as_it_is(home, change, snapshot):
    home.batch(CREATE)
    if snapshot:
        home.session._save(home.session._log)
    log = home.session._log
    log.add({"kind": "segment", "environment": {}, "limits": {}, **change})
    log.commit()
    home.session.close()
    before = home.ask("SELECT number, checksum FROM groups ORDER BY number")
    with pytest.raises(SessionDamagedError, match="later format"):
        home.opened()
    assert home.ask("SELECT number, checksum FROM groups ORDER BY number") == before


def test_a_snapshot_of_a_later_version_is_refused_as_such(home, monkeypatch):
    home.batch(CREATE)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "FORMAT_VERSION", 2)
        home.session._save(home.session._log)
    home.session.close()
    with pytest.raises(SessionDamagedError, match="format version 2"):
        home.opened()


def test_what_a_killed_server_had_begun_to_delete_is_deleted_by_the_next(tmp_path, monkeypatch):
    journal = SqliteJournal(tmp_path / "data")
    journal.claim()
    for kept in (KEPT, Kept("other", 2.5)):
        store = journal.open(kept)
        store.commit(journal_log.Group(1, b"", b""), {})
        store.close()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stopped)
        with pytest.raises(StorageError, match="cannot be deleted: Input/output error"):
            journal.delete(KEPT)
    assert [kept.id for kept in journal.sessions()] == ["other"]
    journal.close()
    journal.claim()
    assert not [path for path in (tmp_path / "data").iterdir() if "~id~" in path.name]
    assert [kept.id for kept in journal.sessions()] == ["other"]
    journal.close()


def test_a_folder_that_is_replaced_or_may_not_be_written_is_noticed(tmp_path, monkeypatch):
    journal = SqliteJournal(tmp_path / "data")
    journal.claim()
    journal.check()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write everywhere
        with pytest.raises(StorageError, match="may not be written to"):
            journal.check()
    (tmp_path / "data").rename(tmp_path / "away")
    with pytest.raises(UnavailableError, match="replaced"):
        journal.check()
    other = SqliteJournal(tmp_path / "data")
    other.claim()
    with pytest.raises(UnavailableError, match="replaced"):
        journal.check()
    other.close()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "away").rename(tmp_path / "data")
    journal.check()
    journal.close()


def test_a_damaged_file_of_notes_is_named(tmp_path):
    (tmp_path / "server.db").write_bytes(os.urandom(8192))
    journal = SqliteJournal(tmp_path)
    with pytest.raises(StorageError, match=r"server\.db is damaged"):
        journal.notes("opening/")


def test_a_session_that_is_looked_at_needs_no_room_on_the_disk(home, store, monkeypatch):
    home.batch(CREATE, SQUARE, SUM)
    look = {"command": "read", "tensor": "x"}
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", full)
        with pytest.raises(StorageError):
            home.batch(BACKWARD)
        assert home.batch(look)["results"][0]["data"] == [1.0, 2.0, 3.0]  # as the journal has it
        home.killed()
        assert home.batch(look)["results"][0]["data"] == [1.0, 2.0, 3.0]
        with pytest.raises(StorageError):
            home.batch(BACKWARD)
    assert home.batch(BACKWARD, READ)["results"][0]["data"] == [2.0, 4.0, 6.0]
    assert set(home.killed().session.names) == {"x", "y", "loss"}


def test_what_draws_at_random_goes_on_after_a_session_was_only_looked_at(home):
    draw = {"command": "apply", "op": "rand", "parameters": {"size": [3]}, "outputs": ["a"]}
    home.killed()
    home.batch({"command": "read", "tensor": "none"})
    home.session._save(home.session._log)
    home.batch(draw)
    drawn = home.session.session.names["a"].array.tolist()
    assert home.killed().session.names["a"].array.tolist() == drawn
