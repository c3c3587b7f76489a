"""``telegrad.Generator``, and random numbers by PyTorch's names: ``telegrad.random``."""

from __future__ import annotations

import secrets
from typing import Any

from telegrad._current import current
from telegrad.contract.generator import Draws


class Generator(Draws):
    """Random numbers apart from a session's own: ``rand(2, generator=g)`` draws from ``g`` and leaves the session's as it was."""

    __slots__ = ()

    def seed(self) -> int:
        """Start anew with a seed that nobody can know beforehand, and return it."""
        return self.manual_seed(secrets.randbits(64)).initial_seed()

    def get_state(self) -> Any:
        """The state, bytes (37, uint8) for ``set_state``: of the session that was drawn in last, else of the current one."""
        if self._state is None:
            with self.drawn_by(current()):
                pass
        return self._state

    def __repr__(self) -> str:
        return f"<telegrad.Generator, begun with {self.initial_seed()}>"
