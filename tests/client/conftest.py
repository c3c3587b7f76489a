"""A counted wire and a session over it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import telegrad
from tests.client.wire import Wire


@pytest.fixture
def wire() -> Wire:
    """The service in this process, behind a counter."""
    return Wire()


@pytest.fixture
def session(wire: Wire) -> Iterator[telegrad.RemoteSession]:
    """A recorded session over the wire, current during the test."""
    with wire.open() as opened:
        yield opened
