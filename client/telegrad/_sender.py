"""Sends what a session has recorded while others record on: when the queue is full, and when nothing was added for a while."""

# The underscores are for users: sender and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING

from telegrad import _defaults
from telegrad.contract.errors import SessionError

if TYPE_CHECKING:
    from telegrad._remote import RemoteSession


class Sender:
    """A daemon thread that holds no session alive and does nothing at the interpreter's exit.

    One batch is on its way at a time. Who fills the queue again meanwhile waits, so that what is recorded and not applied stays
    below two full queues.
    """

    def __init__(self, session: RemoteSession) -> None:
        """Serve ``session``; the thread starts when it is first needed."""
        self._session = weakref.ref(session)
        self._recorded = threading.Event()
        self._full = threading.Event()
        self._taken = threading.Event()
        self._thread: threading.Thread | None = None
        weakref.finalize(session, self._wake_up)

    def begin(self) -> None:
        """Something was recorded after an empty queue: watch for silence."""
        self._recorded.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="telegrad-sender", daemon=True)
            self._thread.start()

    def hand_over(self) -> None:
        """The queue is full: have it sent. Returns when it is empty, which takes as long as a batch before is on its way.

        Raises TelegradError where the batch before could not be sent; everything stays recorded.
        """
        session = self._session()
        if session is not None and session._exchange.trouble is not None:
            session.flush_in_background()  # here, so that whoever records hears of it
            session._exchange.raise_trouble()
            return
        self._taken.clear()
        self._full.set()
        self.begin()
        self._taken.wait()

    def _wake_up(self) -> None:
        self._full.set()
        self._recorded.set()

    def _watch(self) -> None:
        try:
            while self._serve():
                pass
        finally:
            self._thread = None
            self._taken.set()  # whoever waits goes on, whatever has ended the thread

    def _serve(self) -> bool:
        """Wait for something to be recorded, and send it when it is time; whether to go on."""
        self._recorded.wait()
        self._recorded.clear()
        before = -1
        while True:
            full = self._full.wait(_defaults.FLUSH_SILENCE_SECONDS)
            self._full.clear()
            session = self._session()
            if session is None or session.closed:
                return False
            count = len(session._recorder.queue)
            if full or count in (0, before):
                if count or session._traffic.is_under_way:
                    with contextlib.suppress(SessionError):
                        session.flush_in_background(self._taken.set)
                self._taken.set()
                return True
            before = count
            del session
