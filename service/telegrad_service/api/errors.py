"""Every failure becomes one kind of body here: an RFC 9457 problem document, ``application/problem+json``.

``type`` is ``urn:telegrad:problem:`` and the code of a class of the error tree; ``title``, ``status``, ``detail`` and the error's
own members follow, and ``request_id``. Nothing of the request is repeated in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from telegrad.contract import codec
from telegrad.contract.errors import (
    ArgumentError,
    InternalError,
    KeyInProgressError,
    MethodNotAllowedError,
    NotAcceptableError,
    NotFoundError,
    PayloadTooLargeError,
    QuotaError,
    RequestError,
    TelegradError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from telegrad.contract.limits import quota_headers
from telegrad_service.api.auth import CHALLENGE
from telegrad_service.api.endpoint import REQUEST_ID_KEY

log = logging.getLogger("telegrad.service")

RETRY_AFTER_SECONDS = 1

# What the web framework itself raises, in our words: its own may show parts of the request.
_BY_STATUS: Mapping[int, TelegradError] = {
    404: NotFoundError("there is no such page; GET /openapi.json lists all there are"),
    406: NotAcceptableError("there is no acceptable form of the answer"),
    413: PayloadTooLargeError("the body is too large"),
    415: UnsupportedMediaTypeError("the body has a form that is not read here"),
    422: ArgumentError("the request was not accepted"),
}


def problem_response(error: TelegradError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells of this error."""
    extra = dict(headers or {})
    if error.status == 401:
        extra["www-authenticate"] = CHALLENGE
    if error.status == 503 or isinstance(error, KeyInProgressError):
        extra["retry-after"] = str(error.extra.get("retry_after_seconds", RETRY_AFTER_SECONDS))
    if isinstance(error, QuotaError):
        extra.update(quota_headers(error.extra))
    body = codec.dump_json({**error.problem(), "request_id": request_id})
    return Response(body, error.status, extra, media_type=codec.PROBLEM_MEDIA_TYPE)


def fault(error: BaseException, request_id: str) -> InternalError:
    """What is told of a fault of ours: logged with its traceback, shown without a word of it."""
    log.error("request %s failed by a fault of telegrad's own", request_id, exc_info=error)
    return InternalError("telegrad failed by a fault of its own; the server's log tells more under this request_id")


def internal_problem(error: BaseException, request_id: str) -> Response:
    """The answer for a fault of ours."""
    return problem_response(fault(error, request_id), request_id)


def method_not_allowed(allowed: list[str]) -> tuple[TelegradError, dict[str, str]]:
    """The error and its headers for a method that the path does not have."""
    listed = ", ".join(allowed)
    return MethodNotAllowedError(f"the methods here are: {listed}"), {"allow": listed}


def error_response(request: Request, error: TelegradError) -> Response:
    """The answer that tells of an error which a handler raised."""
    request_id = request.scope.get(REQUEST_ID_KEY, "")
    if isinstance(error, InternalError):
        log.error("request %s failed by a fault of telegrad's own", request_id, exc_info=error)
    return problem_response(error, request_id)


def install(app: FastAPI, methods_of: Callable[[str], list[str]]) -> None:
    """Let every exception that a route or the framework raises become a problem. ``methods_of(path)`` gives what a path allows."""

    async def telegrad_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, TelegradError)  # noqa: S101 - registered for these only
        return error_response(request, error)

    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 422
        request_id = request.scope.get(REQUEST_ID_KEY, "")
        if status == 405:
            return problem_response(*_with_id(method_not_allowed(methods_of(request.scope["path"])), request_id))
        fallback = (
            UnavailableError("the server cannot take the request now")
            if status >= 500
            else RequestError("the request cannot be read")
        )
        return problem_response(_BY_STATUS.get(status, fallback), request_id)

    app.add_exception_handler(TelegradError, telegrad_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, http_error)


def _with_id(found: tuple[TelegradError, dict[str, str]], request_id: str) -> tuple[TelegradError, str, dict[str, str]]:
    error, headers = found
    return error, request_id, headers
