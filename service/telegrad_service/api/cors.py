"""Pages of other origins, where a setting names these (https://fetch.spec.whatwg.org/#http-cors-protocol), by Starlette."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

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


def install(app: FastAPI, origins: Sequence[str]) -> None:
    """Answer preflights of pages of these origins, and let their scripts read answers. Keys are headers, never cookies."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=REQUEST_HEADERS,
        expose_headers=ANSWER_HEADERS,
    )
