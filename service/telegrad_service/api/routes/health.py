"""Whether the process is up, and whether it takes work."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from telegrad.contract.errors import UnavailableError
from telegrad_service.api.call import Call, json_response
from telegrad_service.api.endpoint import JSON, Endpoint, reference


async def _health(_call: Call) -> Response:
    return json_response({"status": "ok"})


async def _ready(call: Call) -> Response:
    if call.host.state != "ready":
        raise UnavailableError(f"the server is {call.host.state}")
    return json_response({"status": "ready"})


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/healthz",
        "health",
        "Whether the process is up",
        _health,
        "health",
        answers={200: {JSON: reference("Status")}},
        audience="all",
    ),
    Endpoint(
        "GET",
        "/readyz",
        "ready",
        "Whether the server takes work: started, and not stopping",
        _ready,
        "health",
        audience="all",
        answers={200: {JSON: reference("Status")}},
        errors=(503,),
    ),
)
