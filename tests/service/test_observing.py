"""What is seen of requests from outside: metrics, and a line of log for each. No ids as labels, no keys, no values."""

from __future__ import annotations

import itertools
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from telegrad.contract.errors import ConfigurationError, UnavailableError
from telegrad_service.access.keys import KeyStore
from telegrad_service.api.app import create_app, keeping_of
from telegrad_service.api.observe import JsonFormatter, TextFormatter
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.settings import Settings


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(access_log=True)), raise_server_exceptions=False) as opened:
        yield opened


def metrics(client: TestClient, **headers: str) -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(JsonFormatter().format(r)) for r in caplog.records if r.name == "telegrad.access"]


def test_requests_are_counted_by_route_and_status(client):
    address = client.post("/v1/sessions").headers["location"]
    for _ in range(3):
        client.post(f"{address}/tensors", json={"data": [1.0, 2.0]})
    client.get(f"{address}/tensors/none")
    client.get("/no/such/page")
    client.request("BREW", "/healthz")

    seen = metrics(client)

    assert seen["telegrad_requests_total", "POST", "/v1/sessions", "201"] == 1
    assert seen["telegrad_requests_total", "POST", "/v1/sessions/{session}/tensors", "201"] == 3
    assert seen["telegrad_requests_total", "GET", "/v1/sessions/{session}/tensors/{tensor}", "404"] == 1
    assert seen["telegrad_requests_total", "GET", "none", "404"] == 1
    assert seen["telegrad_requests_total", "other", "none", "405"] == 1
    assert seen["telegrad_request_seconds_count", "/v1/sessions/{session}/tensors"] == 3
    assert seen["telegrad_received_bytes_total",] == 3 * len(b'{"data":[1.0,2.0]}')
    assert seen["telegrad_sent_bytes_total",] > 100
    assert seen["telegrad_sessions",] == 1
    assert seen["telegrad_ready",] == 1
    assert seen["telegrad_requests_in_progress",] == 1  # this one


def test_no_metric_has_an_id_of_a_session_in_it(client):
    address = client.post("/v1/sessions").headers["location"]
    client.get(address)
    assert address.rsplit("/", 1)[-1] not in client.get("/metrics").text


def test_two_applications_in_a_process_count_apart(client):
    client.get("/healthz")
    with TestClient(create_app()) as other:
        assert ("telegrad_requests_total", "GET", "/healthz", "200") not in metrics(other)


def test_metrics_need_the_scope_admin_where_keys_are_asked_for(tmp_path: Path):
    store = KeyStore(tmp_path / "keys", create=True)
    reader, admin = (store.create("acme", [s])[1] for s in ("read", "admin"))
    with TestClient(create_app(Settings(keys_file=str(tmp_path / "keys")))) as closed:
        assert closed.get("/metrics").status_code == 401
        assert closed.get("/metrics", headers={"authorization": f"Bearer {reader}"}).status_code == 403
        seen = metrics(closed, authorization=f"Bearer {admin}")
        assert seen["telegrad_requests_total", "GET", "/metrics", "401"] == 1
    with TestClient(create_app(Settings(keys_file=str(tmp_path / "keys"), public_metrics=True))) as opened:
        assert opened.get("/metrics").status_code == 200
    store.close()


def test_a_request_leaves_one_line_with_its_id_session_status_and_time(client, caplog):
    caplog.set_level(logging.INFO)
    session = client.post("/v1/sessions", headers={"x-request-id": "one"}).json()["id"]
    client.get(f"/v1/sessions/{session}/tensors/none", headers={"x-request-id": "two"})

    first, second = lines(caplog)

    assert (first["request_id"], first["status"], first["route"]) == ("one", 201, "/v1/sessions")
    assert (second["request_id"], second["status"], second["session"]) == ("two", 404, session)
    assert second["route"] == "/v1/sessions/{session}/tensors/{tensor}"
    assert 0 <= second["seconds"] < 60
    assert second["sent_bytes"] > 0


def test_lines_name_tenant_and_key_but_never_the_key(tmp_path: Path, caplog):
    caplog.set_level(logging.DEBUG)
    store = KeyStore(tmp_path / "keys", create=True)
    made, text = store.create("acme", ["read"])
    with TestClient(create_app(Settings(keys_file=str(tmp_path / "keys"), access_log=True))) as closed:
        closed.get("/v1/sessions", headers={"authorization": f"Bearer {text}"})
        closed.get("/v1/sessions", headers={"authorization": f"Bearer {text[:-1]}_"})
    store.close()

    good, bad = lines(caplog)

    assert (good["tenant"], good["key_id"]) == ("acme", made.id)
    assert "tenant" not in bad
    whole = "\n".join(TextFormatter().format(r) + JsonFormatter().format(r) for r in caplog.records)
    assert text[:-1] not in whole


def test_what_a_client_puts_in_odd_places_is_in_no_line(tmp_path: Path, caplog):
    file = tmp_path / "keys.sqlite3"
    store = KeyStore(file, create=True)
    _, key = store.create("acme", ["read", "write"])
    store.close()
    caplog.set_level(logging.INFO)
    headers = {"authorization": f"Bearer {key}"}
    with TestClient(create_app(Settings(keys_file=str(file), access_log=True))) as client:
        at = client.post("/v1/sessions", headers={**headers, "idempotency-key": key}).headers["location"]
        client.get(f"/v1/sessions?api_key={key}")
        for path in (f"/v1/sessions/{key}", f"{at}/tensors/{key}", f"{at}/programs/{key}", f"/{key}", "/v1/sessions/a%0Aforged"):
            for given in ({}, headers):
                client.get(path, headers=given)
        for name in ("x-request-id", "accept", "content-type", "origin", "user-agent", "telegrad-client"):
            client.post(f"{at}/batch", json={"commands": []}, headers={**headers, name: key})
        client.request(key[:40], "/v1/sessions", headers=headers)
    told = [r for r in caplog.records if r.name.startswith("telegrad")]
    assert len(told) > 15
    for formatter in (JsonFormatter(), TextFormatter()):
        text = [formatter.format(record) for record in told]
        assert not [line for line in text if key in line or key[:40] in line]
        assert not [line for line in text if "\n" in line or "forged" in line]


def test_no_line_is_written_unless_it_is_asked_for(caplog):
    caplog.set_level(logging.INFO)
    with TestClient(create_app()) as quiet:
        quiet.get("/healthz")
    assert lines(caplog) == []


def test_a_fault_is_a_line_of_json_with_its_traceback():
    with pytest.raises(ZeroDivisionError) as caught:
        exec("1 / 0  # a line")
    record = logging.LogRecord("telegrad.service", logging.ERROR, __file__, 1, "request %s failed", ("r1",), caught._excinfo)

    text = JsonFormatter().format(record)

    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "request r1 failed"
    assert "ZeroDivisionError" in line["traceback"]
    assert line["time"].endswith("Z")


# What sessions did -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["inline", "process"])
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(access_log=True, data_dir=str(tmp_path / "data"))
    host = None
    if request.param == "process":
        host = ProcessHost(settings.limits, max_waiting_requests=10, request_seconds=60, keeping=keeping_of(settings))
    with TestClient(create_app(settings, host), raise_server_exceptions=False) as opened:
        yield opened


COMMANDS = [
    {"command": "create", "id": "x", "data": [1.0, 2.0], "requires_grad": True},
    {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
    {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
    {"command": "backward", "tensors": ["s"]},
]


def test_commands_are_counted_by_kind_with_the_times_of_session_and_journal(durable, caplog):
    caplog.set_level(logging.INFO)
    at = durable.post("/v1/sessions").headers["location"]
    durable.post(f"{at}/batch", json={"commands": COMMANDS})
    durable.post(f"{at}/batch", json={"commands": [*COMMANDS[1:3], {"command": "read", "tensor": "no"}]})  # one name is taken
    durable.post(f"{at}/ops", json={"op": "neg", "inputs": ["x"]})
    durable.get("/healthz")

    seen = metrics(durable)
    assert seen["telegrad_commands_total", "create"] == 1
    assert seen["telegrad_commands_total", "apply"] == 3
    assert seen["telegrad_commands_total", "backward"] == 1
    assert seen["telegrad_commands_total", "grad"] == 0
    assert seen["telegrad_session_seconds_count",] == seen["telegrad_wait_seconds_count",] == 4
    assert seen["telegrad_journal_seconds_count",] >= 2
    assert seen["telegrad_journal_lag",] >= 0
    assert 0 < seen["telegrad_session_seconds_sum",] < 60
    told = [line for line in lines(caplog) if line["route"].endswith("/batch")]
    assert [line["commands"] for line in told] == [4, 0]
    assert all(0 < line["session_seconds"] <= line["seconds"] for line in told)
    assert all(line["journal_seconds"] <= line["session_seconds"] for line in told)
    assert "commands" not in next(line for line in lines(caplog) if line["route"] == "/healthz")


def test_waiting_for_a_turn_is_seen(caplog):
    caplog.set_level(logging.INFO)
    heavy = [
        {"command": "apply", "op": "ones", "parameters": {"size": [700, 700]}, "outputs": ["m"]},
        *[{"command": "apply", "op": "matmul", "inputs": ["m", "m"], "outputs": [f"p{i}"]} for i in range(30)],
    ]
    with TestClient(create_app(Settings(access_log=True))) as client:
        at = client.post("/v1/sessions").headers["location"]
        threads = [
            threading.Thread(target=client.post, args=(f"{at}/batch",), kwargs={"json": {"commands": heavy}}) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    waits = sorted(line["wait_seconds"] for line in lines(caplog) if line["route"].endswith("/batch"))
    assert waits[0] < waits[1]


# Traces ------------------------------------------------------------------------------------------------------------------------


def test_requests_are_spans_that_continue_their_callers_traces(monkeypatch):
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(api, "get_tracer", provider.get_tracer)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with TestClient(create_app(Settings(tracing=True))) as client:
        at = client.post("/v1/sessions").headers["location"]
        client.post(f"{at}/batch", json={"commands": COMMANDS}, headers={"traceparent": caller})
        client.get("/nowhere")

    found = {span.name: span for span in spans.get_finished_spans() if span.context.trace_id == int(caller[3:35], 16)}
    assert set(found) == {"POST /v1/sessions/{session}/batch", "wait for the session", "session"}
    whole, inside = found["POST /v1/sessions/{session}/batch"], found["session"]
    assert whole.parent.span_id == int(caller[36:52], 16)
    assert inside.parent.span_id == whole.context.span_id
    assert whole.start_time <= inside.start_time < inside.end_time <= whole.end_time
    assert whole.attributes["http.response.status_code"] == 200
    assert inside.attributes["telegrad.commands.apply"] == 2
    assert at.rsplit("/", 1)[-1] not in str([dict(s.attributes) for s in spans.get_finished_spans()])
    provider.shutdown()


def test_tracing_without_its_library_is_refused_at_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ConfigurationError, match="otel"):
        create_app(Settings(tracing=True))


# Readiness ---------------------------------------------------------------------------------------------------------------------


def test_a_server_that_can_make_no_processes_is_not_ready_until_it_can(monkeypatch):
    settings = Settings()
    host = ProcessHost(settings.limits, max_waiting_requests=10, request_seconds=60)
    with TestClient(create_app(settings, host), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 200

        async def fail(*_: Any) -> Any:
            raise UnavailableError("no process")

        with monkeypatch.context() as broken:
            broken.setattr(host._nursery, "make", fail)
            assert client.post("/v1/sessions").status_code == 503
            unready = client.get("/readyz")
        assert unready.status_code == 503
        assert "no process for a session" in unready.json()["detail"]
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/sessions").status_code == 201


def test_a_draining_server_is_not_ready_and_its_metrics_say_so(client):
    assert client.get("/readyz").json() == {"status": "ready"}
    client.app.state.host.drain()
    unready = client.get("/readyz")
    assert (unready.status_code, "draining" in unready.json()["detail"]) == (503, True)
    assert unready.headers["retry-after"]
    assert metrics(client)["telegrad_ready",] == 0


def test_a_journal_in_trouble_makes_the_metrics_say_what_readiness_says(client):
    assert metrics(client)["telegrad_ready",] == 1

    client.app.state.host.trouble = "the disk of the journal is full"

    assert client.get("/readyz").status_code == 503
    assert metrics(client)["telegrad_ready",] == 0


def test_ids_of_requests_are_different_and_tell_nothing_of_each_other(client):
    ids = [client.get("/healthz").headers["x-request-id"] for _ in range(600)]
    assert len(set(ids)) == 600
    assert all(re.fullmatch("[0-9a-f]{24}", one) for one in ids)
    differing = [sum(a != b for a, b in zip(one, following, strict=True)) for one, following in itertools.pairwise(ids)]
    assert min(differing) >= 12  # of 24 characters 22.5 differ by chance
