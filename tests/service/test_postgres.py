"""Journals in PostgreSQL: one server, one owner, and a database that goes away for a while."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from telegrad.contract.errors import ArgumentValueError, JournalUnreachableError, StorageError, UnavailableError
from telegrad.contract.limits import Limits
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.durable import DurableSession, Keeping
from telegrad_service.journal import base, postgres
from telegrad_service.journal.base import Kept, open_journal
from telegrad_service.journal.log import Log
from telegrad_service.journal.postgres import PostgresJournal, PostgresStore
from telegrad_service.settings import Settings, load
from tests.postgres import PASSWORD, Postgres, serving
from tests.service.serving import Server
from tests.service.test_restart import COMMANDS

KEPT = Kept("id", 1.5, "tenant")


@pytest.fixture(scope="module")
def stoppable() -> Iterator[Postgres]:
    """One for all tests that stop theirs: each has databases of its own there."""
    with serving() as server:
        yield server


@pytest.fixture
def alone() -> Iterator[Postgres]:
    """One that nobody can use after the test."""
    with serving() as server:
        yield server


@pytest.fixture
def own(stoppable: Postgres) -> Iterator[Postgres]:
    """One that the test may stop."""
    yield stoppable
    stoppable.start()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 0.3)


def session(url: str) -> DurableSession:
    return DurableSession(KEPT, Limits(), Keeping(url))


def add(at: DurableSession, name: str, **once: Any) -> Any:
    commands = [{"command": "create", "id": name, "data": [1.0, 2.0]}]
    return at.do(Work("batch", json.dumps({"commands": commands}).encode(), **once))


# One server, one owner ---------------------------------------------------------------------------------------------------------


def test_a_database_has_one_server_at_a_time(postgres, monkeypatch):
    monkeypatch.setattr("telegrad_service.journal.postgres._CLAIM_SECONDS", 0.2)
    url = postgres.url()
    first, second = PostgresJournal(url), PostgresJournal(url)
    first.claim()
    with pytest.raises(StorageError, match="another server"):
        second.claim()
    first.close()
    second.claim()
    second.check()
    second.close()


def test_a_schema_is_a_journal_of_its_own(postgres):
    url = postgres.url()
    postgres.execute(url, "CREATE SCHEMA other")
    first, second = PostgresJournal(url), PostgresJournal(f"{url}&options=-csearch_path%3Dother")
    first.claim()
    second.claim()
    first.open(KEPT).close()
    assert (first.sessions(), second.sessions()) == ([KEPT], [])
    first.note("opening/1", "a")
    assert (first.notes("opening/"), second.notes("opening/")) == (["a"], [])
    first.close()
    second.close()


def test_a_server_that_lost_its_lock_to_another_knows_it(postgres):
    url = postgres.url()
    first, second = PostgresJournal(url), PostgresJournal(url)
    first.claim()
    cut(postgres, url)
    second.claim()
    with pytest.raises(UnavailableError, match="taken over"):
        first.check()
    second.close()
    with pytest.raises(UnavailableError, match="taken over"):  # though nobody has it now: sessions may be others
        first.check()


def test_a_server_whose_connection_was_cut_takes_its_lock_again(postgres):
    url = postgres.url()
    journal, other = PostgresJournal(url), PostgresJournal(url)
    journal.claim()
    cut(postgres, url)
    journal.check()
    with pytest.raises(StorageError, match="another server"):
        other.claim()
    journal.close()


def cut(server: Postgres, url: str) -> None:
    """End all connections to the database, from its side."""
    server.execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def test_whoever_opens_a_session_owns_it_and_the_one_before_writes_nothing_any_more(postgres):
    url = postgres.url()
    old = session(url)
    old.do(Work("open"))
    add(old, "x")
    new = session(url)
    with pytest.raises(StorageError, match="another server"):
        add(old, "lost")
    add(new, "y")
    new.close()
    new = session(url)
    assert list(new.session.names) == ["x", "y"]
    before = postgres.execute(url, "SELECT count(*) FROM telegrad_groups")
    with pytest.raises(StorageError, match="another server"):
        old._save(old._log)  # nor does it compact what is not its own
    assert postgres.execute(url, "SELECT count(*) FROM telegrad_groups") == before
    new.close()
    old.close()


def test_tables_of_another_version_are_refused(postgres):
    url = postgres.url()
    journal = PostgresJournal(url)
    journal.claim()
    journal.close()
    postgres.execute(url, "UPDATE telegrad_meta SET value = '2' WHERE name = 'format'")
    with pytest.raises(StorageError, match="format 2"):
        journal.claim()


# A database that goes away -------------------------------------------------------------------------------------------------------


def test_a_database_that_starts_again_is_a_pause(own):
    at = session(own.url())
    at.do(Work("open"))
    own.pause()
    add(at, "x")
    own.pause()
    at.do(Work("create", b'{"id": "y", "data": [1.0]}'))
    at.rest()
    at.close()


def test_a_database_that_stays_away_is_a_clear_state_and_loses_nothing(own, impatient):
    url = own.url()
    at = session(url)
    at.do(Work("open"))
    add(at, "x")
    at.do(Work("create", b'{"id": "answered", "data": [1.0]}'))
    own.stop()
    at.rest()  # what was answered cannot be kept yet
    for _ in range(2):
        with pytest.raises(JournalUnreachableError, match="cannot be reached") as caught:
            add(at, "refused")
        assert caught.value.status == 503
    own.start()
    add(at, "y", client="c" * 16, number=1)
    at.close()
    at = session(url)
    assert list(at.session.names) == ["x", "answered", "y"]
    at.close()


def test_a_session_cannot_be_opened_meanwhile_and_can_be_later(own, impatient):
    url = own.url()
    at = session(url)
    at.do(Work("open"))
    add(at, "x")
    at.close()
    own.stop()
    with pytest.raises(JournalUnreachableError):
        session(url)
    own.start()
    at = session(url)
    assert at.damage is None
    assert list(at.session.names) == ["x"]
    at.close()


def test_a_connection_that_breaks_while_a_session_is_read_is_no_damage(own, impatient, monkeypatch):
    url = own.url()
    at = session(url)
    at.do(Work("open"))
    at.do(Work("batch", b'{"commands": [{"command": "create", "id": "z", "buffer": "b"}]}', buffers={"b": floats(3)}))

    def broken(*_: Any) -> bytes:
        raise JournalUnreachableError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "blob", broken)
        at._log.failed = True
        for _ in range(2):
            with pytest.raises(JournalUnreachableError):
                add(at, "x")
    add(at, "y")
    assert at.damage is None
    assert list(at.session.names) == ["z", "y"]
    at.close()


def floats(count: int) -> Any:
    import numpy as np

    return np.arange(float(count))


def test_a_commit_whose_answer_got_lost_is_made_once(own, monkeypatch):
    url = own.url()
    at = session(url)
    at.do(Work("open"))
    lose_the_answer_of_the_next_commit(monkeypatch)
    add(at, "x", turn="one")
    at.close()
    at = session(url)
    assert list(at.session.names) == ["x"]
    at.close()


def test_what_was_refused_is_not_there_though_its_commit_had_arrived(own, impatient, monkeypatch):
    url = own.url()
    at = session(url)
    at.do(Work("open", turn="zero"))
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 0.0)
    at.rest()
    ((last,),) = own.execute(url, "SELECT max(number) FROM telegrad_groups")
    lose_the_answer_of_the_next_commit(monkeypatch)
    with pytest.raises(JournalUnreachableError):
        add(at, "x", turn="one", client="c" * 16, number=1)
    assert own.execute(url, "SELECT max(number) FROM telegrad_groups") == [(last + 1,)]
    add(at, "y", turn="two")
    assert list(at.session.names) == ["y"]
    assert add(at, "x", turn="three", client="c" * 16, number=1).status == 200
    at.close()
    at = session(url)
    assert list(at.session.names) == ["y", "x"]
    at.close()


def lose_the_answer_of_the_next_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    real, commit = PostgresStore._ask, PostgresStore.commit
    lost: list[bool] = []

    def losing(self: PostgresStore, *what: Any) -> None:
        def ask(store: PostgresStore, question: Any) -> Any:
            def once(connection: Any) -> Any:
                found = question(connection)
                if not lost:
                    lost.append(True)
                    connection.close()
                    raise postgres.psycopg.OperationalError("the connection is lost")
                return found

            return real(store, once)

        with monkeypatch.context() as patch:
            patch.setattr(PostgresStore, "_ask", ask)
            commit(self, *what)

    monkeypatch.setattr(PostgresStore, "commit", losing)


def test_a_full_disk_is_said_to_be_one(alone):
    """For real: the tables lie on a file system of a few megabytes."""
    small = alone.folder / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        alone.give(small)
        alone.execute(alone.url(), f"CREATE TABLESPACE small LOCATION '{small}'")
        at = session(alone.url("TABLESPACE small"))
        at.do(Work("open"))
        add(at, "x")
        large = os.urandom(16 * 2**20)
        with pytest.raises(StorageError, match="full") as caught:
            at.do(
                Work(
                    "batch",
                    b'{"commands": [{"command": "create", "id": "big", "buffer": "b"}]}',
                    buffers={"b": floats(len(large) // 8)},
                )
            )
        assert caught.value.status == 507
        add(at, "y")
        assert list(at.session.names) == ["x", "y"]
        at.close()
        alone.stop()
    finally:
        alone.stop()
        subprocess.run(["umount", str(small)], check=True)


# Servers ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["process", "inline"])
def server(own: Postgres, request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(Path("/nowhere"), "--isolation", request.param, journal=own.url())
    yield made
    if made.process.poll() is None:
        made.stop()


@pytest.mark.parametrize("server", ["process"], indirect=True)
def test_sessions_come_back_after_a_kill_and_a_second_server_is_refused(server):
    at = server("POST", "/v1/sessions", {"seed": 1}).headers["location"]
    assert server("POST", f"{at}/batch", {"commands": COMMANDS}).status_code == 200
    second = subprocess.run(
        [*server.command, "--port", "0"], env=server.environment, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert second.returncode != 0
    assert "another server uses the journal" in second.stderr
    server.restart(signal.SIGKILL)
    assert server("POST", f"{at}/backward", {"tensors": ["loss"]}).status_code == 200
    server.restart(signal.SIGTERM)
    assert server("GET", f"{at}/tensors/x/grad").json()["data"] == [2.0, 4.0, 6.0]
    assert server("DELETE", at).status_code == 204
    assert server("GET", "/v1/sessions").json()["sessions"] == []
    assert PASSWORD not in second.stderr + "".join(server.lines)


def test_a_server_says_that_its_database_is_away_and_goes_on_when_it_is_back(server, own):
    at = server("POST", "/v1/sessions", {"seed": 1}).headers["location"]
    server("POST", f"{at}/batch", {"commands": COMMANDS})
    assert server("GET", "/readyz").status_code == 200
    own.stop()
    refused = server("POST", f"{at}/backward", {"tensors": ["loss"]})
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:telegrad:problem:journal-unreachable")
    assert refused.headers["retry-after"]
    ready = server("GET", "/readyz")
    assert ready.status_code == 503
    assert "database of the journal" in ready.json()["detail"]
    assert server("GET", "/healthz").status_code == 200
    shown = refused.text + ready.text + server("GET", "/metrics").text
    own.start()
    give_up = time.monotonic() + 20
    while server("GET", "/readyz").status_code != 200:
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert server("POST", f"{at}/backward", {"tensors": ["loss"]}).status_code == 200
    assert server("GET", f"{at}/tensors/x/grad").json()["data"] == [2.0, 4.0, 6.0]
    for pid in family(server.process.pid):
        shown += Path(f"/proc/{pid}/cmdline").read_text()
    assert PASSWORD not in shown + "".join(server.lines)
    assert "hunter" not in shown


def family(root: int) -> list[int]:
    """A process and all under it."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


# Settings ----------------------------------------------------------------------------------------------------------------------


def test_the_password_shows_in_no_repr_and_in_no_name_of_the_journal():
    url = f"postgresql://me:{PASSWORD}@example.org:5433/kept?password={PASSWORD}2"
    settings = load({"journal": url}, {})
    assert PASSWORD not in repr(settings) + repr(Keeping(url)) + base.shown(url)
    assert base.shown(url) == "PostgreSQL at example.org, port 5433, database kept"


@pytest.mark.parametrize("url", ["mysql://a:geheim@b/c", "/folder/geheim", "postgresql:geheim"])
def test_addresses_of_other_kinds_are_refused_without_being_repeated(url):
    for refuse in (lambda: load({"journal": url}, {}), lambda: open_journal(url)):
        with pytest.raises(ArgumentValueError, match="must begin with") as caught:
            refuse()
        assert "geheim" not in str(caught.value)


def test_an_address_that_cannot_be_read_is_refused_without_being_repeated():
    for url in ("postgresql://me:geheim@[::1/kept", "postgresql://me:geheim@host/kept?nothing=geheim"):
        with pytest.raises(ArgumentValueError, match="no address") as caught:
            open_journal(url)
        assert "geheim" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_wrong_journal_stops_the_server_with_a_sentence():
    from telegrad_service.api.server import run

    assert run(Settings(journal="postgresql://me:geheim@[::1/kept", port=0)) == 2
