"""One call of a hook of a remote tensor, while a backward is recorded: what it records becomes a callback."""

# The underscores are for users: handles, recorder and session are one unit.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from telegrad._capture import Capture
from telegrad._queue import commands_of
from telegrad.contract import checks
from telegrad.contract.callbacks import Callback
from telegrad.contract.errors import SessionMismatchError

if TYPE_CHECKING:
    from telegrad._foreseen import Foreseen
    from telegrad._history import Leaf, Node
    from telegrad._queue import Entry


class Ended(Exception):  # noqa: N818 - no error
    """A hook raised; the walk ends."""


class Call:
    """One call of a hook: what it records becomes a callback, and what it raises ends the walk."""

    def __init__(self, walk: Foreseen, callback: Callback, target: Node | Leaf) -> None:
        self._walk = walk
        self._callback = callback
        self._target = target
        self._results: tuple[Any, ...] | None = None

    def __enter__(self) -> Self:
        self._recorded = Capture(self._walk._home, self._pause)
        self._recorded.begin()
        return self

    def _pause(self, entries: Sequence[Entry]) -> None:
        """The hook asks for a value."""
        self._walk.pause(self._with(entries), self._target, entries)

    def _with(self, entries: Sequence[Entry]) -> Callback:
        commands, arrays = commands_of(entries)
        self._walk.arrays.update(arrays)
        return replace(self._callback, commands=commands)

    def done(self, results: Sequence[Any] | None) -> None:
        """The hook returned these gradients, or None for those that it was given."""
        if results is None:
            return
        home = self._walk._home
        for result in results:
            if result is not None and not home.is_ours(result):
                raise SessionMismatchError(checks.OTHER_SESSION)
            home.check((result,))
        self._results = tuple(results)
        self._walk.sources.extend([r.history() for r in results if r is not None])

    def __exit__(self, kind: object, value: BaseException | None, trace: object) -> None:
        recorded = self._recorded
        del self._recorded  # they refer to each other, and what a hook was given shall go when its backward does
        entries = recorded.end()
        walk = self._walk
        refusal = recorded.refusal
        stops = isinstance(value, Exception) and refusal is None
        if recorded.paused:
            walk.gives(None if stops else self._results, stops=stops)
        else:
            results = None if stops or self._results is None else names_of(self._results)
            walk.add(replace(self._with(entries), results=results, stops=stops), self._target, entries)
        if refusal is not None:
            raise refusal
        if isinstance(value, Exception):
            walk.error = value
            raise Ended from value


def names_of(gradients: Sequence[Any]) -> tuple[str | None, ...]:
    """The names of gradients, None where there is none."""
    return tuple([None if g is None else g._name for g in gradients])
