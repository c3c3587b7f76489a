"""Waiting for what another thread or process does: until it is so, never for a time in which it should have happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

LONGEST_SECONDS: Final = 60.0
"""However busy the machine is."""


def wait_until(is_so: Callable[[], object]) -> None:
    """Look again and again; fails where it has not become so after ``LONGEST_SECONDS``."""
    end = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


async def until(is_so: Callable[[], object]) -> None:
    """The same, for a test that awaits."""
    end = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)
