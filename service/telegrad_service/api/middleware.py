"""What surrounds every request, as plain ASGI: its id, the headers of every answer, HEAD and OPTIONS, the last net."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telegrad.contract.errors import NotFoundError, UnavailableError
from telegrad_service.access.principal import ANYBODY, Principal
from telegrad_service.api.bodies import DisconnectedError
from telegrad_service.api.endpoint import DID_KEY, ENDPOINT_KEY, PRINCIPAL_KEY, REFUSED_KEY, REQUEST_ID_KEY, Endpoint
from telegrad_service.api.errors import internal_problem, problem_response
from telegrad_service.api.line import line_of
from telegrad_service.api.observe import NO_ROUTE, Done, Observer
from telegrad_service.api.tracing import Tracing

_REQUEST_ID: Final = re.compile(rb"(?!tg_)[A-Za-z0-9._-]{1,64}")
"""None that looks like a key: ids of requests are logged."""

_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{22}")
"""An id of a session. What else stands in its place is the client's own text, perhaps a key or a line for the log."""

SECURITY_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""Any other is the client's own text, and would make labels without end."""

_NO_PAGE: Final = "there is no such page; GET /openapi.json lists all there are"

_HEADERS: Final = tuple(SECURITY_HEADERS)
_UNCACHED_HEADERS: Final = (*SECURITY_HEADERS, (b"cache-control", b"no-store"))

_ID_CHARACTERS: Final = 24
_IDS_AT_ONCE: Final = 256


def _random_ids() -> Iterator[str]:
    """Ids of requests: drawn many at once, because to ask the system takes longer than to cut them, and at random, because numbers
    would tell everybody how much the others ask.
    """
    while True:
        drawn = secrets.token_hex(_IDS_AT_ONCE * _ID_CHARACTERS // 2)
        for start in range(0, len(drawn), _ID_CHARACTERS):
            yield drawn[start : start + _ID_CHARACTERS]


_ids: Final = _random_ids()


class Frame:
    """The outermost layer. A client's own X-Request-Id is kept where it is plain; any other request gets one."""

    def __init__(
        self,
        app: ASGIApp,
        methods_of: Callable[[str], list[str]],
        observer: Observer,
        *,
        has_preflights: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        """Surround ``app``.

        Args:
            app: what answers.
            methods_of: gives the methods of a path, none where there is no such page.
            observer: is told of every request.
            tracing: is told of every request, too.
            has_preflights: whether ``app`` answers the questions of browsers whether a page of another origin may.
        """
        self.app = app
        self.methods_of = methods_of
        self.observer = observer
        self.has_preflights = has_preflights
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = _request_id(scope)
        method = scope["method"]
        started = False
        status, received, sent = 499, 0, 0
        line = line_of(scope)

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def send_framed(message: Message) -> None:
            nonlocal started, status, sent
            if message["type"] == "http.response.start":
                started = True
                status = message["status"]
                given = message.get("headers", ())
                own = _HEADERS if b"cache-control" in dict(given) else _UNCACHED_HEADERS
                timing = b"total;dur=%.3f" % (1000 * (time.perf_counter() - begun))
                headers = [*given, (b"x-request-id", request_id.encode()), *own, (b"server-timing", timing)]
                message = {**message, "headers": headers}
            elif method == "HEAD":
                message = {**message, "body": b""}
            sent += len(message.get("body", b""))
            await send(message)

        of_connection = scope
        if method == "HEAD":
            scope = {**scope, "method": "GET", "extensions": {}}  # nobody may send a body past this
        scope[REQUEST_ID_KEY] = request_id
        self.observer.in_progress += 1
        try:
            own = self._own_answer(scope, method, request_id)
            await (self.app if own is None else own)(scope, receive_counted, send_framed)
        except DisconnectedError:
            return
        except asyncio.CancelledError:
            # A stopping server gives up on what takes too long; the connection is still there to say so.
            if started or scope["app"].state.host.state == "ready":
                raise
            await _cut_short(request_id)(scope, receive, send_framed)
        except Exception as error:  # the last net: nothing may reach the client but a problem
            response = internal_problem(error, request_id)
            if not started:
                await response(scope, receive, send_framed)
            else:
                raise  # the answer is cut off; the server closes the connection
        finally:
            self.observer.in_progress -= 1
            status = of_connection.get(REFUSED_KEY, status)
            past = (0, 0) if line is None else (line.received_bytes, line.sent_bytes)
            done = _done(scope, method, status, time.perf_counter() - begun, received + past[0], sent + past[1])
            self.observer.note(done)
            if self.tracing is not None:
                self.tracing.note(done, scope["headers"])

    def _own_answer(self, scope: Scope, method: str, request_id: str) -> Response | None:
        """To OPTIONS, and to a path that is no page whatever stands behind; None for all else."""
        hides = _hides_a_slash(scope)
        if not hides and (method != "OPTIONS" or (self.has_preflights and _is_preflight(scope))):
            return None
        methods = self.methods_of(scope["path"])
        if hides or not methods:
            return problem_response(NotFoundError(_NO_PAGE), request_id)
        return Response(status_code=204, headers={"allow": ", ".join(methods)})


def _hides_a_slash(scope: Scope) -> bool:
    """Whether a path is another page's for whoever decides by it before us, a gateway say: no name here has a slash."""
    path: bytes = scope.get("raw_path") or b""
    return b"%" in path and b"%2f" in path.lower()


def _is_preflight(scope: Scope) -> bool:
    return {b"origin", b"access-control-request-method"} <= {name for name, _ in scope["headers"]}


def _done(scope: Scope, method: str, status: int, seconds: float, received: int, sent: int) -> Done:
    endpoint: Endpoint | None = scope.get(ENDPOINT_KEY)
    principal: Principal = scope.get(PRINCIPAL_KEY, ANYBODY)
    return Done(
        scope[REQUEST_ID_KEY],
        method if method in _METHODS else "other",
        NO_ROUTE if endpoint is None else endpoint.path,
        _session_of(scope),
        principal.tenant,
        principal.key_id,
        status,
        seconds,
        received,
        sent,
        scope.get(DID_KEY),
    )


def _session_of(scope: Scope) -> str:
    named: str = scope.get("path_params", {}).get("session", "")
    return named if _SESSION.fullmatch(named) else ""


def _cut_short(request_id: str) -> Response:
    return problem_response(
        UnavailableError("the server stopped before this was finished; part of it may have been done"), request_id
    )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return next(_ids)
