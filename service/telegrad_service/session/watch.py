"""What passes between one request that takes long and whoever watches it: news out, the wish to stop in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

News: TypeAlias = dict[str, Any]
"""Plain JSON data, so that it could cross to another process."""

REASONS: Final = {
    "asked": "somebody asked for it",
    "hung-up": "the client hung up",
    "deleted": "the session was deleted",
    "stopping": "the server stops",
}
"""Why a request is stopped, for machines and for people."""


class Watch:
    """One request that can be followed and stopped. Both ends may be in different threads.

    Attributes:
        id: by which others stop it.
        begun: seconds since 1970.
        latest: the last news; None before the first.
        stopped: why it is to stop at its next chance; None while it is not.
        counts_time: whether a request that takes too long is stopped; not where one is done again that was done in time.
        repeats: what tells the request from others when it is sent again: its client and number, or its key; None for nothing.
        origin: the watch of the same request as it came first, where that is still under way.
        returns: how many times the request has come again meanwhile.
    """

    counts_time: bool = True

    __slots__ = ("_on_stop", "_tell", "begun", "id", "latest", "origin", "repeats", "returns", "stopped")

    def __init__(self, id: str, tell: Callable[[News], object] | None = None, repeats: tuple[Any, ...] | None = None) -> None:
        """Watch; ``tell`` is called with all news, in the thread that computes."""
        self.id = id
        self.begun = time.time()
        self.latest: News | None = None
        self.stopped: str | None = None
        self.repeats = repeats
        self.origin: Watch | None = None
        self.returns = 0
        self._tell = tell
        self._on_stop: Callable[[str], object] | None = None

    def tell(self, news: News) -> None:
        """Pass on how far it is."""
        self.latest = news
        if self._tell is not None:
            self._tell(news)

    def pass_to(self, other: Watch) -> None:
        """The client has come back over another connection: that one hears the news from now on, and its wish to stop counts."""
        self.returns += 1
        self._tell = other.tell
        other.origin = self
        other.when_stopped(self.stop)

    def wish(self) -> str | None:
        """Why it is to stop; None while it is not. For whoever does the work, often."""
        return self.stopped

    def stop(self, reason: str) -> None:
        """Let it stop at its next chance; the first reason counts."""
        if self.stopped is None:
            self.stopped = reason
            if self._on_stop is not None:
                self._on_stop(reason)

    def when_stopped(self, call: Callable[[str], object]) -> None:
        """Call ``call(reason)`` when it is to stop, at once if it is: for a session that lives where this object does not."""
        self._on_stop = call
        if self.stopped is not None:
            call(self.stopped)

    def never_mind(self) -> None:
        """The work is done: nobody is to be told of a stop."""
        self._on_stop = None
