"""The three places where a script can run, each behind ``open_session``: local, in-process ASGI, and HTTP over loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import telegrad

OPENERS: Final[dict[str, Callable[[], telegrad.Session]]] = {
    "local": telegrad.local,
}
"""How each place opens a session."""

PLACES: Final = tuple(OPENERS)
REMOTE: Final = tuple(place for place in PLACES if place != "local")


def open_session(place: str) -> telegrad.Session:
    """A new session in that place; use it as a context manager."""
    return OPENERS[place]()
