"""Retries, time limits and answers that are none: what can go wrong between client and server."""

from __future__ import annotations

import json
import sys
import warnings
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import numpy as np
import pytest

import telegrad
from telegrad import _defaults, _transport
from telegrad._retries import Retries, retry_after_seconds
from telegrad._transport import Response
from telegrad.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DependentError,
    InternalError,
    PayloadTooLargeError,
    SessionLostError,
    ShapeError,
    TelegradError,
    TransportError,
    TransportTimeoutError,
    UnavailableError,
)
from tests.client.wire import ADDRESS, Fault, Wire


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, in seconds, not waited for."""
    waited: list[float] = []
    monkeypatch.setattr(_transport, "sleep", waited.append)
    return waited


def use_number(wire: Wire, request: httpx2.Request) -> None:
    """Have the session do something else under the number of a batch."""
    named = {name: request.headers[name] for name in ("telegrad-client", "telegrad-batch")}
    seed = b'{"commands": [{"command": "seed", "seed": 1}]}'
    sent = httpx2.Request("POST", request.url, headers={**named, "content-type": "application/json"}, content=seed)
    assert wire.answer(sent).status_code == 200


def times(count: int, fault: Fault) -> Fault:
    """``fault`` for the next ``count`` requests, then none."""
    left = [count]

    def first(request: httpx2.Request) -> httpx2.Response | None:
        left[0] -= 1
        return fault(request) if left[0] >= 0 else None

    return first


def raising(error: Exception) -> Fault:
    def fault(request: httpx2.Request) -> httpx2.Response | None:
        raise type(error)(*error.args)

    return fault


def answering(status: int, body: dict[str, Any] | bytes = b"", **headers: str) -> Fault:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, bytes) else "application/problem+json"
    return lambda request: httpx2.Response(status, headers={"content-type": kind, **headers}, content=content)


def problem(status: int, code: str) -> dict[str, Any]:
    return {"type": f"urn:telegrad:problem:{code}", "title": "t", "status": status, "detail": "said so"}


REFUSED = raising(httpx2.ConnectError("refused"))
CUT = raising(httpx2.ReadError("connection reset"))
SLOW = raising(httpx2.ReadTimeout("timed out"))
BUSY = answering(503, problem(503, "unavailable"), **{"retry-after": "2"})


def test_a_refused_connection_is_tried_again(wire: Wire, session: telegrad.RemoteSession, pauses: list[float]) -> None:
    x = telegrad.ones(2) + 1
    wire.fault = times(2, REFUSED)

    assert x.tolist() == [2, 2]
    assert len(pauses) == 2


def test_a_server_that_is_busy_says_when_to_come_back(wire: Wire, session: telegrad.RemoteSession, pauses: list[float]) -> None:
    x = telegrad.ones(2) + 1
    wire.fault = times(2, BUSY)

    assert x.tolist() == [2, 2]
    assert [int(seconds) for seconds in pauses] == [2, 2]


def test_what_never_reached_the_server_stays_recorded(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2)
    x += 1
    wire.fault = REFUSED

    with pytest.raises(TransportError, match="refused"):
        x.tolist()
    wire.fault = None

    assert x.tolist() == [2, 2]


def test_a_server_that_stays_busy_leaves_everything_recorded(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2) + 1
    wire.fault = BUSY

    with pytest.raises(UnavailableError, match="said so"):
        x.tolist()
    wire.fault = None

    assert x.tolist() == [2, 2]


BEFORE_THE_SERVER, AFTER_IT = False, True


def losing(wire: Wire, fault: Fault, *, done: bool) -> Fault:
    """``fault`` in the place of the server's answer, which has ``done`` the request or not."""

    def lose(request: httpx2.Request) -> httpx2.Response | None:
        if done:
            wire.answer(request)
        return fault(request)

    return lose


CUT_OFF = answering(200, b'{"applied": 3, "res', **{"content-type": "application/json"})


@pytest.mark.parametrize("done", [BEFORE_THE_SERVER, AFTER_IT])
@pytest.mark.parametrize(
    "fault",
    [
        REFUSED,
        CUT,
        SLOW,
        CUT_OFF,
        answering(502),
        answering(504, b"<html>"),
        answering(522),
        answering(408, problem(408, "request")),
    ],
)
def test_a_batch_whose_answer_was_lost_is_sent_again_and_done_once(
    wire: Wire, session: telegrad.RemoteSession, pauses: list[float], fault: Fault, done: bool
) -> None:
    w = telegrad.ones(2)
    w.tolist()
    w += 1
    before = wire.trips
    wire.fault = times(3, losing(wire, fault, done=done))

    assert w.tolist() == [2, 2]

    assert (wire.trips, len(pauses)) == (before + 4, 3)
    sent = [(r.content, r.headers["telegrad-client"], r.headers["telegrad-batch"]) for r in wire.requests[before:]]
    assert len(set(sent)) == 1


@pytest.mark.parametrize("done", [BEFORE_THE_SERVER, AFTER_IT])
@pytest.mark.parametrize("fault", [REFUSED, CUT, SLOW, BUSY, answering(502)])
def test_what_was_not_answered_in_time_is_kept_and_done_once_later(
    wire: Wire, session: telegrad.RemoteSession, fault: Fault, done: bool
) -> None:
    w = telegrad.ones(2, requires_grad=True)
    w.tolist()
    (w * 3).sum().backward()
    wire.fault = losing(wire, fault, done=done)

    for _ in range(2):
        with pytest.raises((TransportError, UnavailableError)) as raised:
            w.grad.tolist()
        assert "stays recorded" in "".join(raised.value.__notes__)
    wire.fault = None
    (w * 4).sum().backward()

    assert w.grad is not None
    assert w.grad.tolist() == [7, 7]


def test_a_mistake_in_a_batch_that_was_kept_is_told_with_its_line(wire: Wire, session: telegrad.RemoteSession) -> None:
    w = telegrad.ones(2)
    bad = telegrad.ones(2, 3).t().view(6)
    wire.fault = losing(wire, CUT, done=AFTER_IT)
    with pytest.raises(TransportError):
        session.flush()
    wire.fault = None
    worse, good = bad + 1, w + 1

    with pytest.raises(ShapeError) as raised:
        session.flush()

    assert "bad = telegrad.ones(2, 3)" in "".join(raised.value.__notes__)
    assert good.tolist() == [2, 2]
    with pytest.raises(DependentError):
        worse.tolist()


def test_an_interrupted_request_is_kept_and_done_once_later(wire: Wire, session: telegrad.RemoteSession) -> None:
    w = telegrad.ones(2)
    w += 1

    def interrupted(request: httpx2.Request) -> httpx2.Response | None:
        wire.answer(request)
        raise KeyboardInterrupt

    wire.fault = interrupted
    with pytest.raises(KeyboardInterrupt):
        w.tolist()
    wire.fault = None

    assert (w + 1).tolist() == [3, 3]


def test_who_records_on_while_nothing_can_be_sent_is_told(
    wire: Wire, session: telegrad.RemoteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_defaults, "FLUSH_COMMANDS", 8)
    with wire.open() as opened:
        x = opened.zeros(2)
        opened.flush()
        wire.fault = CUT
        told = 0
        for _ in range(60):
            try:
                x += 1
            except TransportError:
                told += 1
        wire.fault = None

        assert told
        assert x.tolist() == [60, 60]


def test_a_request_that_is_being_done_is_asked_for_again(wire: Wire, pauses: list[float]) -> None:
    busy = answering(409, problem(409, "idempotency-key-in-progress"), **{"retry-after": "1"})
    wire.fault = times(2, busy)

    with wire.open() as opened:
        assert opened.ones(2).tolist() == [1, 1]

    keys = [r.headers["idempotency-key"] for r in wire.requests[:3]]
    assert len(set(keys)) == 1
    assert len(pauses) == 2


@pytest.mark.parametrize("fault", [CUT, answering(502)])
def test_one_session_is_opened_however_often_it_is_asked_for(wire: Wire, fault: Fault) -> None:
    wire.fault = times(2, losing(wire, fault, done=AFTER_IT))

    with wire.open() as opened:
        before = [r.headers["idempotency-key"] for r in wire.requests]
        locations = {wire.answer(r).headers["location"] for r in wire.requests[:3]}

    assert len(set(before)) == 1
    assert locations == {f"/v1/sessions/{opened.id}"}


def test_a_session_that_the_server_has_no_longer_says_so_plainly(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2)
    with wire.open(session=session.id) as other:
        other._traffic.run(other._exchange.open())
        wire.answer(httpx2.Request("DELETE", f"{ADDRESS}/v1/sessions/{session.id}"))

    with pytest.raises(SessionLostError, match="Open a new one"):
        x.tolist()


def test_closing_does_not_wait_again_for_a_server_that_is_gone(wire: Wire, pauses: list[float]) -> None:
    opened = wire.open()
    opened.ones(2)
    wire.fault = REFUSED

    with pytest.raises(TransportError):
        opened.close()

    assert sum(pauses) < 1.5 * _defaults.RETRY_SECONDS


@pytest.mark.parametrize("fault", [CUT, SLOW, answering(502)])
def test_a_batch_that_only_reads_is_sent_again(
    wire: Wire, session: telegrad.RemoteSession, pauses: list[float], fault: Fault
) -> None:
    x = telegrad.ones(2)
    session.flush()
    wire.fault = times(3, fault)

    assert x.tolist() == [1, 1]
    assert len(pauses) == 3


def test_no_answer_in_time_is_a_timeout_of_pythons_too(wire: Wire, session: telegrad.RemoteSession) -> None:
    wire.fault = SLOW

    with pytest.raises(TransportTimeoutError) as raised:
        telegrad.ones(2).tolist()
    wire.fault = None

    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, ConnectionError)


def test_a_fault_of_the_server_arrives_as_such(wire: Wire, session: telegrad.RemoteSession) -> None:
    x = telegrad.ones(2)
    wire.fault = times(1, answering(500, {**problem(500, "internal"), "request_id": "abc"}))

    with pytest.raises(InternalError, match="said so") as raised:
        x.tolist()

    assert raised.value.request_id == "abc"
    with pytest.raises(DependentError):
        x.tolist()


def test_an_address_that_is_no_telegrad_says_so() -> None:
    for answer in (answering(404), answering(200, b"<html>"), answering(200, b"{}"), answering(301)):
        wire = Wire()
        wire.fault = answer
        with pytest.raises(TransportError, match="is that address a telegrad server"):
            wire.open()


def test_a_server_that_is_not_there_is_reported_by_connect(pauses: list[float]) -> None:
    with pytest.raises(TransportError, match="not reached"):
        telegrad.connect("http://127.0.0.1:9")

    assert 1 <= sum(pauses) <= _defaults.FIRST_RETRY_SECONDS


@pytest.mark.parametrize("host", ["a" * 300, "a..b", "256.1.1.1"])
def test_a_name_that_no_server_has_is_not_reached(host: str) -> None:
    with pytest.raises(TransportError, match="not reached"):
        telegrad.connect(f"http://{host}:1", retry_seconds=0)


def test_without_retries_nothing_is_tried_again(pauses: list[float]) -> None:
    with pytest.raises(TransportError, match="not reached"):
        telegrad.connect("http://127.0.0.1:9", retry_seconds=0)

    assert pauses == []


def test_back_off_doubles_under_a_cap_with_full_jitter() -> None:
    longest = Retries(10, draw=lambda: 1.0)
    none = Retries(10, draw=lambda: 0.0)

    waits = [longest.wait_seconds(k, None) for k in range(7)]

    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, _defaults.RETRY_CAP_SECONDS, _defaults.RETRY_CAP_SECONDS]
    assert none.wait_seconds(5, None) == 0
    assert none.wait_seconds(0, 7.0) == 7.0


def test_no_retry_begins_after_the_total_time(wire: Wire, session: telegrad.RemoteSession, pauses: list[float]) -> None:
    x = telegrad.ones(2)
    wire.fault = answering(503, problem(503, "unavailable"), **{"retry-after": "61"})

    with pytest.raises(UnavailableError):
        x.tolist()
    wire.fault = None

    assert pauses == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", None), ("soon", None), ("inf", None), ("nan", None)]
)
def test_retry_after_is_read_where_it_is_a_number(text: str, seconds: float | None) -> None:
    assert retry_after_seconds(Response(503, {"retry-after": text})) == seconds


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)

    found = retry_after_seconds(Response(503, {"retry-after": soon}))

    assert found is not None
    assert 17 < found <= 20
    assert retry_after_seconds(Response(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout_seconds": 0}, ArgumentValueError),
        ({"timeout_seconds": "1"}, ArgumentTypeError),
        ({"retry_seconds": -1}, ArgumentValueError),
        ({"retry_seconds": float("inf")}, ArgumentValueError),
        ({"retry_seconds": "1.5"}, ArgumentTypeError),
        ({"session": 7}, ArgumentTypeError),
        ({"session": ""}, ArgumentValueError),
        ({"headers": ["x"]}, ArgumentTypeError),
        ({"headers": {"x": 1}}, ArgumentTypeError),
        ({"headers": {b"x": "1"}}, ArgumentTypeError),
        ({"headers": {"x\n": "1"}}, ArgumentValueError),
        ({"headers": {"": "1"}}, ArgumentValueError),
        ({"headers": {"x": "1\r\ny: 2"}}, ArgumentValueError),
        ({"headers": {"x": "\u65e5"}}, ArgumentValueError),
    ],
)
def test_odd_options_are_refused(wire: Wire, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        wire.open(**options)
    with pytest.raises(error):
        telegrad.connect_async(ADDRESS, **options)


@pytest.mark.parametrize(("url", "error"), [("127.0.0.1:8000", ArgumentValueError), (7, ArgumentTypeError)])
def test_odd_addresses_are_refused(url: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        telegrad.connect(url)


def test_headers_and_path_prefix_go_along(wire: Wire) -> None:
    seen: list[httpx2.Request] = []

    def look(request: httpx2.Request) -> httpx2.Response | None:
        seen.append(request)
        raise httpx2.ConnectError("enough")

    wire.fault = look
    with pytest.raises(TransportError):
        telegrad.connect(f"{ADDRESS}/inner/", transport=wire, headers={"x-team": "seven"}, retry_seconds=0)

    assert (seen[0].url.path, seen[0].headers["x-team"]) == ("/inner/v1/sessions", "seven")


def test_large_arrays_travel_in_pieces_both_ways(session: telegrad.RemoteSession) -> None:
    array = np.random.default_rng(0).standard_normal((700, 700))
    assert array.nbytes > 3 * _defaults.SEND_PIECE_BYTES

    assert telegrad.tensor(array).numpy().tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64", "complex64", "complex128"])
def test_every_type_arrives_bit_by_bit(session: telegrad.RemoteSession, dtype: str) -> None:
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)

    for value in (array, array[:, ::2], array.T, array[:0], array[0, 0], array.astype(array.dtype.newbyteorder(">"))):
        found = telegrad.tensor(value).numpy()
        assert (found.dtype, found.shape, found.tolist()) == (array.dtype, value.shape, value.tolist())


def test_importing_telegrad_loads_no_http_library() -> None:
    import subprocess

    code = "import sys, telegrad; assert not {'httpx2', 'pydantic', 'numpy', 'asyncio'} & set(sys.modules), 1"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("status", "code", "inside"),
    [(413, "payload-too-large", False), (429, "quota", False), (403, "forbidden", False), (422, "deadline", True)],
)
def test_after_a_batch_that_was_refused_whole_the_next_is_done_wherever_it_was_refused(
    wire: Wire, session: telegrad.RemoteSession, status: int, code: str, inside: bool
) -> None:
    w = telegrad.ones(2)
    session.flush()
    refused = answering(status, problem(status, code))

    def refuse(request: httpx2.Request) -> httpx2.Response | None:
        if inside:  # the session has used the number
            use_number(wire, request)
        return refused(request)

    wire.fault = times(1, refuse)
    w += 1
    with pytest.raises(TelegradError, match="said so"):
        session.flush()

    for step in range(3):
        w += 2
        assert w.tolist() == [3 + 2 * step] * 2


def test_a_rate_that_is_exceeded_for_long_leaves_everything_recorded(wire: Wire, session: telegrad.RemoteSession) -> None:
    w = telegrad.ones(2)
    w += 1
    wire.fault = answering(429, problem(429, "rate-limit"), **{"retry-after": "100"})

    with pytest.raises(TelegradError, match="said so"):
        session.flush()
    wire.fault = None

    assert w.tolist() == [2, 2]


def test_a_rate_limited_by_a_gateway_that_says_not_for_how_long_is_a_pause(
    wire: Wire, session: telegrad.RemoteSession, pauses: list[float]
) -> None:
    w = telegrad.ones(2)
    w += 1
    wire.fault = times(2, answering(429, b"<html>"))

    assert w.tolist() == [2, 2]
    assert len(pauses) == 2


def of_at_most(limit: int, answer: Fault) -> Fault:
    """A gateway that answers longer requests itself."""
    return lambda request: answer(request) if len(request.content) > limit else None


@pytest.mark.parametrize("answer", [answering(413, b"<html>"), answering(413, problem(413, "payload-too-large"))])
def test_what_is_too_long_together_goes_in_parts(wire: Wire, session: telegrad.RemoteSession, answer: Fault) -> None:
    wire.fault = of_at_most(20_000, answer)
    total = telegrad.zeros(500)
    for number in range(40):
        total += telegrad.tensor(np.full(500, number, np.float32))

    assert total.tolist() == [sum(range(40))] * 500


def test_what_is_too_long_by_itself_fails_and_the_rest_lives(wire: Wire, session: telegrad.RemoteSession) -> None:
    wire.fault = of_at_most(20_000, answering(413, b"<html>"))
    w = telegrad.ones(2)
    w += 1
    large = telegrad.tensor(np.zeros(10_000))
    dependent = large + 1
    w += 1

    with pytest.raises(PayloadTooLargeError, match="client_max_body_size") as raised:
        session.flush()

    assert "large = telegrad.tensor" in "".join(raised.value.__notes__)
    with pytest.raises(DependentError):
        dependent.tolist()
    for step in range(3):
        w += 1
        assert w.tolist() == [4 + step] * 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"results": ["a"]}',
        b'{"results": [{}]}',
        b'{"results": [{"index": 100}]}',
        b'{"results": [{"index": 1, "tensor": {"shape": [2], "dtype": "float32"}, "base64": "!"}]}',
        b'{"results": [{"index": 1, "tensor": {"shape": [2], "dtype": "unheard-of"}, "base64": "AACAPwAAgD8="}]}',
        b'{"results": [{"index": 1, "tensor": {"shape": [7], "dtype": "float32"}, "base64": "AACAPwAAgD8="}]}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(wire: Wire, session: telegrad.RemoteSession, body: bytes) -> None:
    w = telegrad.ones(2)
    session.flush()
    w += 1
    wire.fault = answering(200, body, **{"content-type": "application/json"})

    with pytest.raises(TransportError):
        w.tolist()
    wire.fault = None

    assert w.tolist() == [2, 2]


@pytest.mark.parametrize(
    "document", [{"failed": 1, "applied": "x"}, {"failed": "x"}, {"failed": 10**9}, {"failed": 0, "applied": -5}]
)
def test_a_refusal_that_makes_no_sense_is_an_error_of_telegrads(
    wire: Wire, session: telegrad.RemoteSession, document: dict[str, Any]
) -> None:
    x = telegrad.ones(2) + 1
    refused = answering(422, {**problem(422, "shape"), **document})

    def refuse(request: httpx2.Request) -> httpx2.Response | None:
        use_number(wire, request)
        return refused(request)

    wire.fault = times(1, refuse)

    with pytest.raises(TelegradError):
        x.tolist()

    assert telegrad.ones(2).tolist() == [1, 1]


def test_a_warning_that_is_an_error_hides_no_batch(wire: Wire, session: telegrad.RemoteSession) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with telegrad.autograd.detect_anomaly():
            x = telegrad.tensor([-1.0], requires_grad=True)
            y = telegrad.tensor([0.0], requires_grad=True)
            x.sqrt().sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((UserWarning, RuntimeError)):
            session.flush()
        y2 = y + 1

        assert y2.tolist() == [1]
