"""From a path to the row of its endpoint without the framework's router, whose routing costs more than a small computation.

FastAPI has the same rows as its routes: they give the document, answer what is no page, and serve an application that is mounted in
another one. Every request goes through ``answer`` in either case.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from telegrad.contract.errors import TelegradError
from telegrad_service.access.principal import ANYBODY
from telegrad_service.api.auth import Access
from telegrad_service.api.call import Call
from telegrad_service.api.compressing import Compressing, is_wanted
from telegrad_service.api.endpoint import ENDPOINT_KEY, PRINCIPAL_KEY, Endpoint
from telegrad_service.api.errors import error_response
from telegrad_service.api.routes import ENDPOINTS
from telegrad_service.hosts.base import Host

_Row = tuple[re.Pattern[str], Endpoint]

# By how many segments a path has, so that two or three patterns are tried and not two dozen.
_ROWS: Final[dict[int, list[_Row]]] = defaultdict(list)
for _endpoint in ENDPOINTS:
    _pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", _endpoint.path))
    _ROWS[_endpoint.path.count("/")].append((_pattern, _endpoint))


def find(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """The row for a request, and what its path says; None where there is none."""
    for pattern, endpoint in _ROWS.get(path.count("/"), ()):
        if endpoint.method == method:
            match = pattern.fullmatch(path)
            if match is not None:
                return endpoint, match.groupdict()
    return None


def methods_of(path: str) -> list[str]:
    """The methods that a path has, HEAD and OPTIONS included; none where there is no such page. ``*`` is the server as a whole."""
    if path == "*":
        return sorted({endpoint.method for endpoint in ENDPOINTS} | {"HEAD", "OPTIONS"})
    found = {endpoint.method for pattern, endpoint in _ROWS.get(path.count("/"), ()) if pattern.fullmatch(path)}
    if "GET" in found:
        found.add("HEAD")
    return sorted(found | {"OPTIONS"}) if found else []


async def answer(endpoint: Endpoint, request: Request) -> Response:
    """Let the row answer. Raises what its handler raises.

    Who asks comes first, before anything that an answer could tell.
    """
    scope = request.scope
    state = scope["app"].state
    access: Access = state.access
    scope[ENDPOINT_KEY] = endpoint
    principal = scope[PRINCIPAL_KEY] = ANYBODY if access.is_open else access.principal(request.headers, endpoint)
    host: Host = state.host
    if host.state == "starting":
        await host.start()
    if endpoint.audience == "keys":
        host.ledger.spend(principal.tenant, "requests", 1)
    response = await endpoint.handler(Call(request, endpoint, principal, host))
    if endpoint.audience == "keys" and response.status_code != 429:
        response.raw_headers += host.ledger.headers(principal.tenant)
    return response


class Shortcut:
    """Answers what it knows, and leaves everything else to the framework behind it."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before ``app``."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        found = None
        if scope["type"] == "http" and not scope.get("root_path"):
            found = find(scope["method"], scope["path"])
        if found is None:
            await self.app(scope, receive, send)
            return
        endpoint, scope["path_params"] = found
        request = Request(scope, receive)
        try:
            response = await answer(endpoint, request)
        except TelegradError as error:
            response = error_response(request, error)
        await response(scope, receive, Compressing(send) if is_wanted(scope["headers"]) else send)
