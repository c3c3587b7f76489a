"""What is seen of requests from outside: metrics, and a line of log for each. No ids as labels, no keys, no values."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from telegrad_service.access.keys import KeyStore
from telegrad_service.api.app import create_app
from telegrad_service.api.observe import JsonFormatter, TextFormatter
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
