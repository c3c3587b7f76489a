"""A session's own process: receives requests one by one, does them, and sends what came of it.

Imported by the warm helper before it forks, so nothing here may start a thread or call BLAS at import.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time
import traceback
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telegrad.contract.errors import LimitError, TelegradError
from telegrad.contract.limits import Limits
from telegrad_service import process
from telegrad_service.hosts import frames
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.durable import DurableSession
from telegrad_service.hosts.keeping import Drop, Keeping
from telegrad_service.hosts.lending import Upload
from telegrad_service.journal.base import Kept
from telegrad_service.logs import Log
from telegrad_service.session.account import Allowance, Need
from telegrad_service.session.watch import Watch

SPARE_BYTES: Final = 512 * 2**20
"""Address space beside what a session may hold and what one command may need meanwhile: text of answers, Python's own objects."""


@dataclass(frozen=True, slots=True)
class Home:
    """What a worker has to know: which session, its limits, how it is kept, and what to leave out; see ``DurableSession``."""

    kept: Kept
    limits: Limits
    keeping: Keeping
    drop: Drop | None = None


LOOK_SECONDS: Final = 0.01
"""Shortest time between two looks for a wish to stop."""

_PAGES_FILE: Final = Path("/proc/self/statm")
_PR_SET_PDEATHSIG: Final = 1


def bound_memory(limits: Limits) -> None:
    """Let allocations fail, instead of the machine, where a session would need far more than its limits foresee.

    Address space is what can be bounded without rights: what the process has now, what a session may hold, and as much again
    for the working memory of one command. Where the system cannot say or bound it, limits alone hold.
    """
    try:
        import resource

        pages = int(_PAGES_FILE.read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    wanted = pages * resource.getpagesize() + 2 * limits.max_session_bytes + SPARE_BYTES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


def die_with_parent() -> None:
    """End when the process that forked this one ends, even in the middle of a computation: on Linux; elsewhere after it."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(connection: socket.socket, home: Home) -> None:
    """Do what comes over the connection until it closes."""
    bound_memory(home.limits)
    session: DurableSession | None = None
    incoming = frames.Incoming(connection)
    account = _FarAccount(connection, incoming)
    while True:
        try:
            work = frames.receive_work(incoming)
        except LimitError as error:
            frames.send(connection, frames.error_frame(error))
            continue
        if work is None:
            if session is not None:
                session.stop()
            return
        try:
            # Only now: what goes wrong with bringing it back is told whoever asks.
            if session is None:
                is_new = work.verb == "open"
                session = DurableSession(home.kept, home.limits, home.keeping, drop=home.drop, account=account, is_new=is_new)
            if work.upload is not None:
                work = _with_arrays(connection, session, work, work.upload)
        except TelegradError as error:
            frames.send(connection, frames.error_frame(error))
            continue
        # A context of its own: a mode that one request sets must not be the next one's.
        account.watch = _FarWatch(connection, incoming)
        account.watch.stopped = work.stopped or None
        pieces = Context().run(_do, session, work, account.watch)
        del work
        frames.send_answer(connection, incoming, pieces)
        del pieces
        session.rest()


def _with_arrays(connection: socket.socket, session: DurableSession, work: Work, upload: Upload) -> Work:
    """The request with its arrays, which are still on its client's connection. Raises TelegradError where they stay there."""
    try:
        session.expect(work)
        return frames.receive_upload(work, upload)
    finally:
        os.close(upload.descriptor)
        frames.send(connection, frames.taken_frame(upload.taken or 0))


class _FarWatch(Watch):
    """The watch of whoever is at the server's end of the connection."""

    __slots__ = ("_incoming", "_looked")

    def __init__(self, connection: socket.socket, incoming: frames.Incoming) -> None:
        super().__init__("", lambda news: frames.send(connection, frames.news_frame(news)))
        self._incoming = incoming
        self._looked = time.monotonic()  # a wish of before came with the request

    def wish(self) -> str | None:
        """See ``Watch.wish``. Looks at the connection now and then: that takes longer than a small run."""
        now = time.monotonic()
        if self.stopped is None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.stopped = frames.receive_stop(self._incoming)
        return self.stopped


class _FarAccount:
    """The account at the server's end of the connection."""

    def __init__(self, connection: socket.socket, incoming: frames.Incoming) -> None:
        self._connection, self._incoming = connection, incoming
        self.watch = Watch("")

    def ask(self, need: Need) -> Allowance:
        """See ``Account.ask``."""
        frames.send(self._connection, frames.ask_frame(need))
        return frames.receive_grant(self._incoming, self.watch.stop)


def _do(session: DurableSession, work: Work, watch: Watch) -> list[frames.Piece]:
    try:
        answer = session.do(work, watch)
        return frames.answer_frame(answer, session.report(), (session.session.done, round(session.journal_seconds, 6)))
    except TelegradError as error:
        return frames.error_frame(error, session.report())
    except Exception:  # noqa: BLE001 - the server logs it under the request's id, and answers with a problem
        return frames.fault_frame(traceback.format_exc())


def spawned(connection: socket.socket, home: Home, tuned: bool, lines: Log | None = None) -> None:
    """The whole life of a worker that was not forked from a warm helper but started anew."""
    process.tune(tuned)
    if lines is not None:
        lines.install()
    run(connection, home)


def run(connection: socket.socket, home: Home) -> None:
    """``serve``, and an end without a word where the server goes away first: the journal has what was asked."""
    gc.enable()
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError, frames.ServerGone):
        serve(connection, home)
