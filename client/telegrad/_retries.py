"""When a failed request is sent again, and after how long. Knows no I/O: a procedure for the drivers of ``_transport``."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from telegrad import _defaults
from telegrad._transport import NotSent, Pause, Procedure, Request, Response, failed
from telegrad.contract import codec
from telegrad.contract.errors import PayloadTooLargeError, TelegradError, TransportError, from_problem

TURNED_AWAY: Final = frozenset({409, 429, 503})
"""With a Retry-After header, these say that nothing was done, or is still being done, and when to come back."""

GATEWAY_FAILURES: Final = frozenset({408, 425, 502, 503, 504})
"""Something between client and server failed, or was too slow; whether the server did the request, nobody knows."""

_NO_JSON: Final = (ValueError, RecursionError)
"""What reading JSON raises for what is none, or is none of ours."""

NOT_DONE: Final = GATEWAY_FAILURES | {429, 507}
"""Answers after which a request that may be sent again is as it was: still to be done, or still to be asked for."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How long to try.

    Attributes:
        seconds: no retry begins later than so long after the first failure; 0 for none at all.
        base_seconds: longest wait before the first retry; doubled for each further one.
        cap_seconds: longest wait between two attempts.
        draw: a number in [0, 1), for the jitter.
        clock: seconds, monotonic.
    """

    seconds: float = _defaults.RETRY_SECONDS
    base_seconds: float = _defaults.RETRY_BASE_SECONDS
    cap_seconds: float = _defaults.RETRY_CAP_SECONDS
    draw: Callable[[], float] = field(default=random.random, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def wait_seconds(self, attempt: int, asked_seconds: float | None) -> float:
        """The wait before retry number ``attempt`` (0 is the first): as the server says, and back-off with full jitter."""
        longest: float = min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt, 30))
        return (asked_seconds or 0.0) + longest * self.draw()


def send(request: Request, retries: Retries, *, first: bool = False) -> Procedure[Response]:
    """Send until it is answered; a procedure.

    Sent again: what surely was not done (no connection, or turned away with Retry-After), and, of repeatable requests, everything
    that a second try may heal.

    Args:
        request: what to send.
        retries: how long to try.
        first: no server has answered yet: give up soon if none is reached.

    Raises:
        NotSent: the server was never reached; nothing was done.
        TransportError, TransportTimeoutError: the last failure, where nobody knows whether the request was done.
    """
    attempt = 0
    failed_at: float | None = None
    waited = 0.0
    was_sent = False
    while True:
        request.attempts += 1
        outcome = yield from _try(request)
        asked: float | None = None
        seconds = 0.0
        most = retries.seconds
        if isinstance(outcome, Response):
            asked = retry_after_seconds(outcome)
            turned_away = outcome.status in TURNED_AWAY and asked is not None
            again = turned_away or (request.repeatable and _failed_on_the_way(outcome))
        else:
            again = isinstance(outcome, NotSent) or request.repeatable
            was_sent = was_sent or not isinstance(outcome, NotSent)
            if first and not was_sent:
                most = min(most, _defaults.FIRST_RETRY_SECONDS)
        if again:
            now = retries.clock()
            failed_at = now if failed_at is None else failed_at
            seconds = retries.wait_seconds(attempt, asked)
            again = max(now - failed_at, waited) + seconds < most
        if not again:
            if isinstance(outcome, Response):
                return outcome
            if was_sent and isinstance(outcome, NotSent):
                raise outcome.error from outcome.error.__cause__  # an attempt before may have been done
            raise outcome
        attempt += 1
        waited += seconds
        yield Pause(seconds)


def _failed_on_the_way(response: Response) -> bool:
    """Whether an answer is not the server's own word on the request: gateways have further numbers for their failures, and may
    limit rates without saying for how long.
    """
    elsewhere = response.status >= 500 or response.status == 429
    return response.status in GATEWAY_FAILURES or (elsewhere and problem_of(response) is None)


def _try(request: Request) -> Procedure[Response | NotSent | TransportError]:
    """One attempt: the answer, or what came instead."""
    try:
        response = yield request
    except (NotSent, TransportError) as error:
        return error
    if response is None:
        raise TypeError("the driver answered a request with nothing")
    if response.status < 300 and response.message is None and response.body and _is_json(response):
        try:
            response.message = json.loads(response.body)
        except _NO_JSON:
            return failed("the answer was cut off")
    return response


def _is_json(response: Response) -> bool:
    return response.headers.get("content-type", "").startswith((codec.JSON_MEDIA_TYPE, codec.EVENTS_MEDIA_TYPE))


def retry_after_seconds(response: Response) -> float | None:
    """The Retry-After header, a number or a date, in seconds; None if there is none, or one that is neither."""
    text = response.headers.get("retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            return None
    return seconds if 0 <= seconds < float("inf") else None


def parse(response: Response) -> Any:
    """The JSON value of a successful answer. Raises the error that any other answer describes."""
    if response.status >= 400 or response.status < 200:
        raise error_of(response)
    if response.message is not None:
        return response.message
    if not response.body:
        return None
    try:
        return json.loads(response.body)
    except _NO_JSON:
        raise TransportError("the answer is no JSON: is that address a telegrad server?") from None


def member(value: Any, name: str) -> Any:
    """A member of a JSON object; None where there is none, or no object."""
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def problem_of(response: Response) -> dict[str, Any] | None:
    """The problem document of an answer; None where there is none."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/problem+json":
        return None
    try:
        problem = json.loads(response.body)
    except _NO_JSON:
        return None
    return problem if isinstance(problem, dict) else None  # pyright: ignore[reportUnknownVariableType]


def error_of(response: Response) -> TelegradError:
    """The error that an unsuccessful answer describes."""
    problem = problem_of(response)
    if problem is None and response.status == 413:
        return PayloadTooLargeError(
            "something between here and the server takes no request of this size (status 413 and no problem document): send less "
            "at once, or have its limit raised (nginx: client_max_body_size)"
        )
    if problem is None:
        return TransportError(
            f"the server answered with status {response.status} and no problem document: is that address a telegrad server, "
            "and does what stands between let its answers through?"
        )
    request_id = problem.get("request_id") or response.headers.get("x-request-id")
    return from_problem(problem, request_id)
