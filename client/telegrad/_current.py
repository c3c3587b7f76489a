"""Which session free functions use, and how sessions of this process are found."""

from __future__ import annotations

import threading
from importlib.metadata import entry_points
from typing import Final

from telegrad.contract.errors import BackendMissingError
from telegrad.contract.session import BaseSession, current_session

ENTRY_POINT_GROUP: Final = "telegrad.backends"

_default: BaseSession | None = None
_lock = threading.Lock()


def local() -> BaseSession:
    """A new session in this process: no server, no wire, ops run at once.

    Raises BackendMissingError if no installed package offers a local backend.
    """
    for point in entry_points(group=ENTRY_POINT_GROUP, name="local"):
        opened: BaseSession = point.load()()
        return opened
    raise BackendMissingError(
        "no backend for local sessions is installed: reinstall telegrad, whose wheel carries one, or use telegrad.connect(url)"
    )


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
