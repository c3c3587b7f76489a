"""Retries, time limits and answers that are none: what can go wrong between client and server."""

from __future__ import annotations

import json
import sys
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


def times(count: int, fault: Fault) -> Fault:
    """``fault`` for the next ``count`` requests, then none."""
    left = [count]

    def first(request: httpx2.Request) -> httpx2.Response | None:
        left[0] -= 1
        return fault(request) if left[0] >= 0 else None

    return first


def raising(error: Exception) -> Fault:
    def fault(request: httpx2.Request) -> httpx2.Response | None:
        raise error

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
    assert pauses == [2, 2]


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


@pytest.mark.parametrize("fault", [CUT, SLOW])
def test_a_batch_that_may_have_been_applied_is_not_sent_again(
    wire: Wire, session: telegrad.RemoteSession, pauses: list[float], fault: Fault
) -> None:
    w = telegrad.ones(2)
    w.tolist()
    w += 1
    y = w * 2
    before = wire.trips
    wire.fault = times(1, fault)

    with pytest.raises(TransportError) as raised:
        y.tolist()

    assert (wire.trips, pauses) == (before + 1, [])
    assert "nobody knows whether they were applied" in "".join(raised.value.__notes__)
    with pytest.raises(DependentError):
        y.tolist()
    assert w.tolist() in ([1, 1], [2, 2])


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
        telegrad.connect("http://127.0.0.1:9", retries=2)

    assert len(pauses) == 2


def test_back_off_doubles_under_a_cap_with_full_jitter() -> None:
    longest = Retries(10, draw=lambda: 1.0)
    none = Retries(10, draw=lambda: 0.0)

    waits = [longest.wait_seconds(k, None) for k in range(8)]

    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, _defaults.RETRY_CAP_SECONDS, _defaults.RETRY_CAP_SECONDS]
    assert none.wait_seconds(5, None) == 0
    assert longest.wait_seconds(0, 7.0) == 7.0


def test_no_retry_begins_after_the_total_time(wire: Wire, session: telegrad.RemoteSession, pauses: list[float]) -> None:
    x = telegrad.ones(2)
    wire.fault = answering(503, problem(503, "unavailable"), **{"retry-after": "31"})

    with pytest.raises(UnavailableError):
        x.tolist()
    wire.fault = None

    assert pauses == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", None), ("soon", None), ("inf", None), ("nan", None)]
)
def test_retry_after_is_read_where_it_is_a_number(text: str, seconds: float | None) -> None:
    assert retry_after_seconds(Response(503, {"retry-after": text})) == seconds


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout_seconds": 0}, ArgumentValueError),
        ({"timeout_seconds": "1"}, ArgumentTypeError),
        ({"retries": -1}, ArgumentValueError),
        ({"retries": 1.5}, ArgumentTypeError),
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
        telegrad.connect(f"{ADDRESS}/inner/", transport=wire, headers={"x-team": "seven"}, retries=0)

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


def test_an_interrupted_wait_leaves_nothing_half_known(wire: Wire, session: telegrad.RemoteSession) -> None:
    w = telegrad.ones(2)
    session.flush()
    y = w + 1
    wire.fault = times(1, raising(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        y.tolist()

    with pytest.raises(DependentError, match="interrupted"):
        y.tolist()
    assert w.tolist() == [1, 1]


def test_importing_telegrad_loads_no_http_library() -> None:
    import subprocess

    code = "import sys, telegrad; assert not {'httpx2', 'pydantic', 'numpy', 'asyncio'} & set(sys.modules), 1"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
