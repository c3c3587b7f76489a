"""Requests as spans of OpenTelemetry, where that is asked for: through its API alone, which needs no set-up of ours.

A span is made when its request is over, with the times that were measured anyway; it continues its caller's trace
(``traceparent``). Below it stand the wait for the session's turn and what the session did in its process.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from typing import Any, Final

from telegrad._version import __version__
from telegrad.contract.errors import ConfigurationError
from telegrad_service.api.observe import NO_ROUTE, Done

_NANO: Final = 10**9


class Tracing:
    """Makes spans, with whatever provider the process has."""

    def __init__(self) -> None:
        """Raises ConfigurationError where the API is not installed."""
        try:
            self._trace: Any = importlib.import_module("opentelemetry.trace")
            self._propagate: Any = importlib.import_module("opentelemetry.propagate")
        except ModuleNotFoundError:
            raise ConfigurationError("tracing needs OpenTelemetry: pip install 'telegrad[otel]'") from None

    def note(self, done: Done, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Make the spans of a request that has just ended; ``headers`` are its own."""
        trace = self._trace
        tracer = trace.get_tracer("telegrad", __version__)
        end = time.time_ns()
        begin = end - int(done.seconds * _NANO)
        carrier = {str(name, "latin-1"): str(value, "latin-1") for name, value in headers}
        attributes: dict[str, Any] = {
            "http.request.method": done.method,
            "http.response.status_code": done.status,
            "http.request.body.size": done.received_bytes,
            "http.response.body.size": done.sent_bytes,
            "telegrad.request_id": done.request_id,
        }
        if done.route != NO_ROUTE:
            attributes["http.route"] = done.route
        if done.tenant:
            attributes["telegrad.tenant"] = done.tenant
        span = tracer.start_span(
            f"{done.method} {done.route}",
            context=self._propagate.extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=begin,
        )
        if done.status >= 500:
            span.set_status(trace.Status(trace.StatusCode.ERROR))
        did = done.did
        if did is not None:
            inside = trace.set_span_in_context(span)
            turn = end - int(did.session_seconds * _NANO)
            waiting = max(begin, turn - int(did.wait_seconds * _NANO))
            tracer.start_span("wait for the session", context=inside, start_time=waiting).end(turn)
            counts = {f"telegrad.commands.{kind}": count for kind, count in did.commands.items()}
            attributes = {"telegrad.journal_seconds": did.journal_seconds, **counts}
            tracer.start_span("session", context=inside, attributes=attributes, start_time=turn).end(end)
        span.end(end)
