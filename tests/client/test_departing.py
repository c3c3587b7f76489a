"""Runs of programs that are sent while others are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import telegrad
from telegrad import _defaults
from telegrad._remote import RemoteSession
from telegrad._retries import Retries
from telegrad._transport import HttpTransport, NotSent, Request, Response, failed
from telegrad.errors import TelegradError, TransportError
from tests.client.wire import ADDRESS, Wire
from tests.waiting import wait_until

SOME = _defaults.DEPART_RUNS


class Begun:
    """See ``telegrad._transport.Begun``: the service is asked when the answer is read."""

    def __init__(self, home: Later, request: Request) -> None:
        self._home = home
        self._request = request

    def is_answered(self) -> bool:
        return self._home.answers

    def finish(self) -> Response:
        self._home.finished += 1
        response = self._home.send(self._request)
        if self._home.fault is not None:
            self._home.fault()
        return response

    def abandon(self) -> None:
        self._home.abandoned += 1


class Later:
    """A pipelined transport whose answers come when the test wants them to.

    Attributes:
        answers: whether they come.
        fault: is called when an answer was read, before it is handed on.
        begun, finished, abandoned: how many there were.
    """

    def __init__(self, wire: Wire) -> None:
        self._inner = HttpTransport(ADDRESS, timeout_seconds=10, headers=None, transport=wire)
        self.answers = False
        self.fault: Callable[[], None] | None = None
        self.begun = self.finished = self.abandoned = 0

    def send(self, request: Request) -> Response:
        return self._inner.send(request)

    def begin(self, request: Request) -> Begun:
        self.begun += 1
        return Begun(self, request)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def later(wire: Wire) -> Later:
    """A transport whose answers wait."""
    return Later(wire)


@pytest.fixture
def departing(later: Later) -> Iterator[telegrad.RemoteSession]:
    """A session over it."""
    retries = Retries(seconds=60, base_seconds=0.001)
    with RemoteSession(later, session=None, eager=False, retries=retries) as opened:
        yield opened


def counting(session: telegrad.RemoteSession) -> Callable[[], Any]:
    """A program that counts its runs, traced, and stored on the server."""
    count = telegrad.tensor(0.0)

    def step() -> Any:
        nonlocal count
        count += 1
        return count.clone()

    traced = telegrad.function(step)
    traced()
    count.zero_()
    session.flush()
    return traced


def test_some_runs_are_sent_while_others_are_recorded(departing, later: Later):
    step = counting(departing)
    kept = [step() for _ in range(SOME)]

    assert later.begun == 1
    assert later.finished == 0
    assert [x.item() for x in kept] == [float(i + 1) for i in range(SOME)]
    assert later.finished == 1


def test_fewer_wait_until_a_value_is_needed(departing, later: Later):
    step = counting(departing)
    for i in range(3 * SOME):
        kept = [step() for _ in range(SOME - 1)][-1]
        assert kept.item() == (i + 1) * (SOME - 1)

    assert later.begun == 0


def test_one_batch_is_on_its_way_at_a_time(departing, later: Later):
    step = counting(departing)
    kept = [step() for _ in range(5 * SOME)]
    assert later.begun == 1

    later.answers = True
    kept += [step() for _ in range(SOME)]
    assert later.begun == 2
    assert [x.item() for x in kept] == [float(i + 1) for i in range(6 * SOME)]


def test_an_error_on_the_way_is_raised_at_the_next_flush_and_names_the_line(departing, later: Later):
    matrix = telegrad.tensor([[1.0, 0.0], [0.0, 1.0]])
    inverse = telegrad.function(lambda: telegrad.linalg.inv(matrix))
    inverse()
    matrix.zero_()
    departing.flush()
    later.answers = True

    kept = [inverse() for _ in range(2 * SOME)]
    with pytest.raises(TelegradError, match="singular") as caught:
        departing.flush()

    assert any("test_departing.py" in note for note in caught.value.__notes__)
    assert kept
    departing.flush()  # once


def test_a_connection_that_breaks_on_the_way_loses_and_doubles_nothing(departing, later: Later, wire: Wire):
    step = counting(departing)

    def broken() -> None:
        later.fault = None
        raise failed("it broke")

    later.fault = broken
    kept = [step() for _ in range(SOME)]
    before = wire.trips
    kept += [step() for _ in range(3)]

    assert kept[-1].item() == SOME + 3.0
    assert wire.trips == before + 3  # what was done, the same again, and what came after it


def test_a_server_that_is_not_reached_is_asked_again_when_somebody_waits(departing, later: Later, monkeypatch):
    step = counting(departing)
    begin = later.begin

    def refuse(request: Request) -> Any:
        monkeypatch.setattr(later, "begin", begin)
        raise NotSent(TransportError("nobody there"))

    monkeypatch.setattr(later, "begin", refuse)
    kept = [step() for _ in range(SOME)]

    assert kept[-1].item() == float(SOME)


def test_an_interruption_keeps_what_was_recorded(departing, later: Later):
    step = counting(departing)
    kept = [step() for _ in range(SOME)]

    def interrupt() -> None:
        later.fault = None
        raise KeyboardInterrupt

    later.fault = interrupt
    with pytest.raises(KeyboardInterrupt):
        kept[-1].item()

    assert kept[-1].item() == float(SOME)


def test_an_answer_that_nobody_waits_for_is_read_after_a_silence(departing, later: Later, monkeypatch):
    step = counting(departing)
    monkeypatch.setattr(_defaults, "FLUSH_SILENCE_SECONDS", 0.02)
    step()
    departing.flush()
    for _ in range(SOME):
        step()
    assert departing._traffic.is_under_way

    wait_until(lambda: not departing._traffic.is_under_way)
    assert later.finished == 1


def fail_on_the_way(later: Later) -> None:
    with RemoteSession(later, session=None, eager=False, retries=Retries(seconds=0.5)) as session:
        step = counting(session)
        for _ in range(SOME):
            step()
        raise ValueError("mine")


def test_a_script_that_fails_leaves_what_is_on_its_way(later: Later):
    with pytest.raises(ValueError, match="mine"):
        fail_on_the_way(later)

    assert later.abandoned == 1


def test_eager_sessions_and_other_transports_send_nothing_ahead(session, wire: Wire):
    step = counting(session)
    before = wire.trips
    for _ in range(4 * SOME):
        step()

    assert wire.trips == before
