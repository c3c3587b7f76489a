"""A session's random numbers, by PyTorch's names."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from telegrad._current import current
from telegrad._functions.creation import get_rng_state, manual_seed, seed, set_rng_state

__all__ = ["fork_rng", "get_rng_state", "manual_seed", "seed", "set_rng_state"]


@contextlib.contextmanager
def fork_rng(enabled: bool = True) -> Generator[None]:
    """Draw inside as outside, and go on afterwards as if nothing had been drawn. ``enabled=False`` does nothing."""
    if not enabled:
        yield
        return
    session = current()
    before = session.get_rng_state()
    try:
        yield
    finally:
        session.set_rng_state(before)
