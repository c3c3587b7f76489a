"""What is seen of requests from outside: a line of log for each, and Prometheus' metrics. Neither shows bodies, values or keys."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.registry import Collector

from telegrad._version import __version__
from telegrad.contract.commands import COMMANDS
from telegrad_service.api.tallies import Count, Spread, Tallies
from telegrad_service.hosts.base import Did, Host
from telegrad_service.logs import EXTRA, JsonFormatter, TextFormatter

__all__ = ["METRICS_MEDIA_TYPE", "NO_ROUTE", "Done", "JsonFormatter", "Observer", "TextFormatter"]

log = logging.getLogger("telegrad.access")

METRICS_MEDIA_TYPE: Final = "text/plain"

NO_ROUTE: Final = "none"
"""The route of a request for what is no page: its path is the client's own text, and would make labels without end."""


class Done(NamedTuple):
    """A request that has ended.

    Attributes:
        request_id: its id.
        method, route: of the endpoint; the route has ``{holes}``, and is ``none`` where there is no such page.
        session: the session's id, or empty.
        tenant, key_id: who asked, where keys are asked for.
        status: of the answer; 499 where the client went away before it began.
        seconds: from its head to the last byte of the answer.
        received_bytes, sent_bytes: of the bodies.
        did: how its session did it; None where none was asked.
    """

    request_id: str
    method: str
    route: str
    session: str
    tenant: str
    key_id: str
    status: int
    seconds: float
    received_bytes: int
    sent_bytes: int
    did: Did | None = None


class _Places(Collector):
    """What the host says of itself when it is asked."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.is_ready = False

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        seen = self._host.census()
        yield GaugeMetricFamily("telegrad_sessions", "Sessions that are open", value=seen.sessions)
        yield GaugeMetricFamily("telegrad_workers", "Processes of sessions that are alive", value=seen.workers)
        yield GaugeMetricFamily("telegrad_requests_waiting", "Requests that wait for their session's turn", value=seen.waiting)
        yield GaugeMetricFamily(
            "telegrad_journal_lag",
            "Changes that were answered before they were known to be on the disk, as of each last answer",
            value=seen.lag,
        )
        yield CounterMetricFamily("telegrad_sessions_lost", "Sessions whose process ended while it was needed", value=seen.lost)
        yield GaugeMetricFamily("telegrad_ready", "1 while the server takes work", value=float(self.is_ready))


class Observer:
    """Counts requests, and logs them where that is asked for.

    Attributes:
        in_progress: requests that have begun and not ended; for the event loop's thread alone.
    """

    def __init__(self, host: Host, *, access_log: bool) -> None:
        """Begin with nothing counted, in a registry of its own: an application may be made more than once in a process."""
        self._log = access_log
        self._registry = registry = CollectorRegistry()
        tallies = Tallies()
        registry.register(tallies)
        self._requests = tallies.counts("telegrad_requests", "Requests, by route and status", "method", "route", "status")
        self._seconds = tallies.spreads("telegrad_request_seconds", "From a request's head to the last byte of its answer", "route")
        self._both: dict[tuple[str, str, int], tuple[Count, Spread]] = {}
        wait = tallies.spreads("telegrad_wait_seconds", "From a request's arrival at its session to its turn")
        session = tallies.spreads("telegrad_session_seconds", "That a session took for a request")
        journal = tallies.spreads("telegrad_journal_seconds", "For which a request waited for its journal when it was done")
        self._wait, self._session, self._journal = [one.setdefault((), Spread()) for one in (wait, session, journal)]
        commands = tallies.counts("telegrad_commands", "Commands that were done, by kind", "command")
        self._kinds = {kind: commands.setdefault((kind,), Count()) for kind in COMMANDS}
        received = tallies.counts("telegrad_received_bytes", "Bytes of request bodies")
        sent = tallies.counts("telegrad_sent_bytes", "Bytes of answers' bodies")
        self._received, self._sent = received.setdefault((), Count()), sent.setdefault((), Count())
        self.in_progress = 0
        running = Gauge("telegrad_requests_in_progress", "Requests that have begun and not ended", registry=registry)
        running.set_function(lambda: self.in_progress)
        Gauge("telegrad_build_info", "The version that runs", ("version",), registry=registry).labels(__version__).set(1)
        self._places = _Places(host)
        registry.register(self._places)

    def note(self, done: Done) -> None:
        """Count a request, and log it."""
        key = done.method, done.route, done.status
        both = self._both.get(key)
        if both is None:
            both = self._both[key] = (
                self._requests.setdefault((done.method, done.route, str(done.status)), Count()),
                self._seconds.setdefault((done.route,), Spread()),
            )
        both[0].total += 1
        both[1].note(done.seconds)
        self._received.total += done.received_bytes
        self._sent.total += done.sent_bytes
        did = done.did
        if did is not None:
            self._wait.note(did.wait_seconds)
            self._session.note(did.session_seconds)
            if did.journal_seconds:
                self._journal.note(did.journal_seconds)
            for kind, count in did.commands.items():
                self._kinds[kind].total += count
        if self._log:
            fields = {k: v for k, v in done._asdict().items() if v not in ("", None) and k != "did"}
            fields["seconds"] = round(done.seconds, 6)
            if did is not None:
                fields["commands"] = sum(did.commands.values())
                fields |= {name: round(getattr(did, name), 6) for name in ("wait_seconds", "session_seconds", "journal_seconds")}
            log.info("%s %s %d in %.4f s", done.method, done.route, done.status, done.seconds, extra={EXTRA: fields})

    def note_refused(self, request_id: str, status: int, seconds: float, sent_bytes: int) -> None:
        """Count what never became a request, and was answered by the connection itself."""
        self.note(Done(request_id, "other", NO_ROUTE, "", "", "", status, seconds, 0, sent_bytes))

    def text(self, *, is_ready: bool) -> bytes:
        """All metrics in Prometheus' text format; whether the server takes work is known to who asks."""
        self._places.is_ready = is_ready
        return generate_latest(self._registry)
