"""What cannot be asked of a server: while a hook runs, and of what a failed command would have made."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from telegrad._history import UNKNOWN, Leaf
from telegrad._queue import Recorded, outputs_of, to_raise
from telegrad.contract.errors import AutogradError, DependentError, TelegradError

if TYPE_CHECKING:
    from telegrad._asked import Asked
    from telegrad._foreseen import Foreseen
    from telegrad._queue import Entry
    from telegrad._recorder import Recorder


def dependent(cause: TelegradError) -> DependentError:
    """The error of using what depends on a failed command."""
    notes = getattr(cause, "__notes__", ())
    where = f" ({notes[0]})" if notes else ""
    error = DependentError(f"this needs the result of a command that failed earlier: {type(cause).__name__}: {cause.detail}{where}")
    error.__cause__ = cause
    return error


def raise_error_of(walk: Foreseen | Asked) -> None:
    """Raise what a hook has raised, if one has, and forget it: it has the frames in which the walk is."""
    error, walk.error = walk.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error


class Diverted(deque[Any]):
    """Where to record while hooks run: what a thread with a hook records goes to the hook, anything else to the queue."""

    def __init__(self, captures: Mapping[int, Capture], queue: deque[Any]) -> None:
        super().__init__()
        self._captures = captures
        self._queue = queue

    def append(self, entry: Any) -> None:
        """Record."""
        capture = self._captures.get(threading.get_ident())
        (self._queue if capture is None else capture.entries).append(entry)


class Capture:
    """While a hook runs: what it records is kept apart, and what it asks the server is refused.

    Attributes:
        entries: what it has recorded.
        refusal: the error of a question, even if the hook has swallowed it.
        paused: what the hook recorded so far was sent, see ``interrupt``.
    """

    def __init__(self, home: Recorder, pause: Callable[[Sequence[Entry]], None]) -> None:
        """Begin with nothing; ``pause`` records the backward up to here, with what the hook has recorded."""
        self._home = home
        self._pause = pause
        self._outer = home.capturing
        self.paused = False
        self.entries: deque[Any] = deque()
        self.refusal: AutogradError | None = None

    def begin(self) -> None:
        """Record here."""
        self._home.capture(self)

    def end(self) -> list[Any]:
        """Record where it was recorded before; what was recorded here, and was not sent."""
        if self.paused:
            return []
        self._home.capture(self._outer)
        return list(self.entries)

    def interrupt(self) -> None:
        """A value is asked for, which only the server has: let it do the backward up to here, and wait.

        Raises AutogradError where nobody can wait.
        """
        home = self._home
        if not home.waits:
            raise self.refuse()
        around: list[Capture] = [self]
        while (outer := around[-1]._outer) is not None:
            around.append(outer)
        entries = [list(capture.entries) for capture in around]
        home.capture(None)
        for capture, recorded in zip(reversed(around), reversed(entries), strict=True):
            capture.paused = True
            capture._pause(recorded)

    def refuse(self) -> AutogradError:
        """The error of asking for what is not known yet."""
        self.refusal = self._home.cannot_ask(
            "a hook, or a custom function, is called while its backward is recorded, before the server computes anything, and "
            "nobody can wait for a value in an AsyncSession or in a traced function. Compute with the gradient, keep it and read "
            "it after the backward; for Python code that depends on values, use telegrad.connect() or telegrad.local()"
        )
        return self.refusal


def abandon(home: Recorder, entries: Sequence[Any], names: Sequence[str], cause: TelegradError) -> None:
    """Entries that are never sent: what they would have made does not exist, what they would have changed is unknown."""
    cause = to_raise(cause)
    for name in (*names, *[n for entry in entries for n in outputs_of(entry)]):
        home.failed.setdefault(name, cause)
    home.attention = True
    home.grad_epoch += 1
    home.writes += 1
    for entry in entries:
        for touched in entry.touches if isinstance(entry, Recorded) else ():
            if isinstance(touched, Leaf):
                touched.settle(UNKNOWN, home.grad_epoch)
            else:
                touched.forget()
