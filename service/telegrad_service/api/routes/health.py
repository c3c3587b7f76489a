"""Whether the process is up, whether it takes work, and what it has done so far."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from telegrad.contract.errors import UnavailableError
from telegrad_service.api.call import Call, json_response
from telegrad_service.api.endpoint import JSON, Endpoint, reference
from telegrad_service.api.observe import METRICS_MEDIA_TYPE, Observer


async def _health(_call: Call) -> Response:
    return json_response({"status": "ok"})


async def _obstacle(call: Call) -> str | None:
    """Why the server takes no work now; None where it does."""
    host, access = call.host, call.request.app.state.access
    if host.state != "ready":
        return f"the server is {host.state}"
    trouble: str | None = access.trouble
    return trouble or await host.hindrance()


async def _ready(call: Call) -> Response:
    obstacle = await _obstacle(call)
    if obstacle is not None:
        raise UnavailableError(obstacle)
    return json_response({"status": "ready"})


async def _metrics(call: Call) -> Response:
    observer: Observer = call.request.app.state.observer
    is_ready = await _obstacle(call) is None
    return Response(observer.text(is_ready=is_ready), media_type=f"{METRICS_MEDIA_TYPE}; version=0.0.4; charset=utf-8")


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
        "Whether the server takes work: started, not stopping, and able to keep what it does",
        _ready,
        "health",
        audience="all",
        answers={200: {JSON: reference("Status")}},
        errors=(503,),
    ),
    Endpoint(
        "GET",
        "/metrics",
        "metrics",
        "Counts and timings since the start, in Prometheus' text format",
        _metrics,
        "health",
        audience="metrics",
        admin=True,
        answers={200: {METRICS_MEDIA_TYPE: {"type": "string"}}},
    ),
)
