"""Pages of other origins, where a setting names these (https://fetch.spec.whatwg.org/#http-cors-protocol), by Starlette."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from telegrad.contract.errors import RequestError
from telegrad_service.api.endpoint import REQUEST_ID_KEY
from telegrad_service.api.errors import problem_response

METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
REQUEST_HEADERS: Final = (
    "Accept",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Telegrad-Batch",
    "Telegrad-Client",
    "X-Request-Id",
)
ANSWER_HEADERS: Final = (
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "Telegrad-Durable-Seq",
    "Telegrad-Seq",
    "X-Request-Id",
)
"""Those that scripts may read, beside the few that browsers always show."""


class _Refusal(Response):
    """A preflight that is refused, as a problem like any other."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._access = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        error = RequestError(
            "pages of that origin may not send this: the setting cors_origins names the origins, the methods are "
            f"{', '.join(METHODS)}, and the headers {', '.join(REQUEST_HEADERS)}"
        )
        await problem_response(error, scope.get(REQUEST_ID_KEY, ""), self._access)(scope, receive, send)


class _Preflights(CORSMiddleware):
    """Starlette's middleware, which refuses in plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """See CORSMiddleware."""
        found = super().preflight_response(request_headers)
        if found.status_code < 400:
            return found
        return _Refusal({name: value for name, value in found.headers.items() if not name.startswith("content-")})


def install(app: FastAPI, origins: Sequence[str]) -> None:
    """Answer preflights of pages of these origins, and let their scripts read answers. Keys are headers, never cookies."""
    app.add_middleware(
        _Preflights,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=REQUEST_HEADERS,
        expose_headers=ANSWER_HEADERS,
    )
