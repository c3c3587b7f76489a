"""Which session free functions use, and how sessions of this process are found."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from telegrad.contract.errors import BackendMissingError
from telegrad.contract.session import BaseSession, current_session

P = ParamSpec("P")
R = TypeVar("R")

ENTRY_POINT_GROUP: Final = "telegrad.backends"

_default: BaseSession | None = None
_lock = threading.Lock()


@functools.cache
def _local_backend() -> Callable[[], BaseSession]:
    """What opens sessions in this process. Looked up once: scanning the installed packages takes 4 ms."""
    for point in entry_points(group=ENTRY_POINT_GROUP, name="local"):
        found: Callable[[], BaseSession] = point.load()
        return found
    raise BackendMissingError(
        "no backend for local sessions is installed: reinstall telegrad, whose wheel carries one, or use telegrad.connect(url)"
    )


def local() -> BaseSession:
    """A new session in this process: no server, no wire, ops run at once.

    Raises BackendMissingError if no installed package offers a local backend.
    """
    return _local_backend()()


def current() -> BaseSession:
    """The session of the innermost ``with``; without one, a local session that lives as long as the process."""
    global _default  # noqa: PLW0603 - one default session a process
    session = current_session()
    if session is not None:
        return session
    if _default is None or _default.closed:
        with _lock:
            if _default is None or _default.closed:
                _default = local()
    return _default


def in_current(method: Callable[Concatenate[Any, P], R]) -> Callable[P, R]:
    """``method`` of the current session as a function, with the same arguments."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(current(), *args, **kwargs)

    call.__qualname__ = method.__name__
    return call
