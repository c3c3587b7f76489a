"""Names for parts of a graph: ``with telegrad.scope("encoder"):`` marks the nodes of the ops inside, for pictures and summaries.

Like the grad mode, a scope holds for one thread and task. Ops outside of any pay one look at an empty list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.modes import ModeManager

SEPARATOR: Final = "/"
"""Between the names of a path: ``encoder/attention``."""

MAX_PATH_LENGTH: Final = 256
"""Characters of a whole path."""

_path: ContextVar[str | None] = ContextVar("telegrad_scope", default=None)

current_scope: Callable[[], str | None] = _path.get
"""The path of the scopes that hold now, in this thread and task; None outside of any."""

active: Final[list[None]] = []
"""Has an item for every scope that is entered, in whatever thread, and for everyone else who asks for new nodes (see ``watching``):
while it is empty, nobody need look at a node as it is made."""


def checked_path(value: object) -> str:
    """The value as one name or several joined by ``/``.

    Raises ArgumentTypeError for anything but a str, ArgumentValueError for an empty name, for characters that do not print, and
    for more than MAX_PATH_LENGTH characters.
    """
    if type(value) is not str:
        raise ArgumentTypeError(f"a scope's name must be str, not {type(value).__name__}")
    if not all(value.split(SEPARATOR)) or not value.isprintable():
        raise ArgumentValueError("a scope's name is one or more printable names joined by '/', none of them empty")
    if len(value) > MAX_PATH_LENGTH:
        raise ArgumentValueError(f"a scope's path has {len(value)} characters, permitted are {MAX_PATH_LENGTH}; use shorter names")
    return sys.intern(value)  # every node of the scope refers to this one string


class _At(ModeManager):
    """Sets the path and restores what was before, on exceptions too."""

    def __init__(self) -> None:
        self._tokens: list[Token[str | None]] = []

    def _goal(self) -> str:
        raise NotImplementedError

    def __enter__(self) -> None:
        self._tokens.append(_path.set(self._goal()))
        active.append(None)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        active.pop()
        _path.reset(self._tokens.pop())


class at_scope(_At):  # noqa: N801 - a context manager
    """Make a whole path current, whatever holds outside; for sessions that do what was recorded elsewhere."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._name = path

    def _goal(self) -> str:
        return self._name

    def _again(self) -> at_scope:
        return at_scope(self._name)


class scope(_At):  # noqa: N801 - named like the grad modes
    """Ops inside belong to ``name``. A context manager, ``with telegrad.scope("encoder"):``, and a decorator.

    Scopes nest: ``attention`` within ``encoder`` is ``encoder/attention``. Pictures and summaries group by them. Values and
    gradients are the same with and without.

    Raises:
        ArgumentTypeError: for a name that is no str.
        ArgumentValueError: for an empty or unprintable name; on entering, for a path of more than MAX_PATH_LENGTH characters.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = checked_path(name)

    def _goal(self) -> str:
        outer = _path.get()
        return self._name if outer is None else checked_path(outer + SEPARATOR + self._name)

    def _again(self) -> scope:
        return scope(self._name)
