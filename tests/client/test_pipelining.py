"""The next batch is recorded while the last one is computed: within bounds, in order, and with errors where they belong."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

import telegrad
from telegrad import _defaults
from telegrad.errors import DependentError, ShapeError
from tests.client.wire import Wire

LONGEST_SECONDS = 20


class Gate:
    """Holds requests back until it is opened."""

    def __init__(self, wire: Wire) -> None:
        self._opened = threading.Event()
        self._waiting = threading.Event()
        wire.fault = self.hold

    def hold(self, _request: httpx2.Request) -> None:
        """Let the request wait."""
        self._waiting.set()
        assert self._opened.wait(LONGEST_SECONDS)

    def wait(self) -> None:
        """Until a request has come."""
        assert self._waiting.wait(LONGEST_SECONDS)

    def open(self) -> None:
        """Let all requests pass."""
        self._opened.set()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is soon full, and no silence."""
    monkeypatch.setattr(_defaults, "FLUSH_COMMANDS", 64)
    monkeypatch.setattr(_defaults, "FLUSH_SILENCE_SECONDS", 3600.0)


@pytest.fixture
def opened(small: None, wire: Wire) -> Iterator[telegrad.RemoteSession]:
    """A session with such a queue."""
    with wire.open() as session:
        yield session


def fill(x: Any, count: int = 64) -> Any:
    """Record so many ops."""
    for _ in range(count):
        x = x + 1
    return x


def test_recording_goes_on_while_a_batch_is_computed(opened: telegrad.RemoteSession, wire: Wire) -> None:
    x = telegrad.zeros(2)
    gate = Gate(wire)
    x = fill(x)
    gate.wait()
    x = fill(x, 30)
    assert len(opened._recorder.queue) >= 30
    gate.open()

    assert x.tolist() == [94.0, 94.0]


def test_who_fills_the_queue_again_waits(opened: telegrad.RemoteSession, wire: Wire) -> None:
    gate = Gate(wire)
    most: list[int] = []

    def record() -> None:
        with opened:
            x = telegrad.zeros(2)
            for _ in range(300):
                x = x + 1
                most.append(len(opened._recorder.queue))

    opened.__enter__()
    thread = threading.Thread(target=record)
    thread.start()
    gate.wait()
    time.sleep(0.3)
    assert thread.is_alive(), "the first batch is on its way, the second is full"
    gate.open()
    thread.join(LONGEST_SECONDS)
    assert not thread.is_alive()
    assert max(most) <= 2 * 64
    opened.__exit__(None, None, None)


def test_bytes_fill_the_queue_too(monkeypatch: pytest.MonkeyPatch, opened: telegrad.RemoteSession, wire: Wire) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_BYTES", 1000)
    gate = Gate(wire)
    telegrad.tensor(np.zeros(200))
    gate.wait()
    y = telegrad.ones(2)
    gate.open()

    assert y.tolist() == [1.0, 1.0]


def test_an_error_in_the_background_reaches_the_read_that_needs_the_value(opened: telegrad.RemoteSession, wire: Wire) -> None:
    good, target = telegrad.ones(2), telegrad.zeros(2)
    gate = Gate(wire)
    bad = telegrad.ones(2, 3).t().view(6)  # the line
    target.add_(bad[:2])
    fill(good)
    gate.wait()
    meant_for_the_new_value = target * 2
    worse = bad + 1
    fine = good * 3
    gate.open()

    with pytest.raises(ShapeError, match="view") as caught:
        worse.tolist()
    assert "# the line" in caught.value.__notes__[0]
    with pytest.raises(DependentError):
        meant_for_the_new_value.tolist()
    with pytest.raises(DependentError):
        worse.tolist()
    assert fine.tolist() == [3.0, 3.0]
    assert target.tolist() == [0.0, 0.0]
    assert (target + 1).tolist() == [1.0, 1.0], "what is recorded now is meant for the value that stands"


def test_the_first_to_use_what_failed_is_told_why_even_while_the_rest_is_still_sent(
    opened: telegrad.RemoteSession, wire: Wire
) -> None:
    bad = telegrad.ones(2, 3).t().view(6)  # the line
    gate = Gate(wire)
    failing = wire.trips + 1
    wire.fault = lambda request: gate.hold(request) if wire.trips > failing else None
    fill(telegrad.ones(2))  # a batch that fails at its second command, and what is left of it
    gate.wait()

    with pytest.raises(ShapeError, match="view") as caught:
        bad.sum()
    assert "# the line" in caught.value.__notes__[0]
    with pytest.raises(DependentError, match="view"):
        bad.sum()
    gate.open()
    opened.flush()  # and nobody is told twice


def test_recording_after_an_error_in_the_background_goes_on(opened: telegrad.RemoteSession, wire: Wire) -> None:
    good = telegrad.ones(2)
    bad = telegrad.ones(2, 3).t().view(6)
    fill(good)
    opened.flush_in_background()

    other = good + 1
    with pytest.raises(ShapeError, match="view"):
        bad.sum()
    assert other.tolist() == [2.0, 2.0]


def test_closing_tells_of_an_error_that_nobody_has_heard_of(small: None, wire: Wire) -> None:
    with pytest.raises(ShapeError, match="view"), wire.open() as session:  # noqa: PT012 - the end of the block raises
        telegrad.ones(2, 3).t().view(6)
        session.flush_in_background()


def test_nothing_is_sent_at_the_interpreters_exit() -> None:
    script = """
import httpx2, telegrad
from tests.client.wire import Wire
wire = Wire()
session = wire.open()
x = session.ones(2) + 1
print(wire.trips, flush=True)
import atexit
atexit.register(lambda: print(wire.trips, flush=True))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["1", "1"]
