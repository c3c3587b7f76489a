"""Pages of other origins: none may, unless a setting names them. Headers that protect are on every answer."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from telegrad.contract.errors import ArgumentValueError
from telegrad_service.api.app import create_app
from telegrad_service.settings import Settings, load

PAGE = "https://notebook.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,idempotency-key",
}


def cors_headers(answer) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k.startswith("access-control")}


@pytest.fixture
def plain():
    with TestClient(create_app(), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def named():
    settings = Settings(cors_origins=f"{PAGE},http://localhost:3000")
    with TestClient(create_app(settings), raise_server_exceptions=False) as opened:
        yield opened


def test_without_the_setting_no_page_of_another_origin_may(plain):
    assert cors_headers(plain.options("/v1/sessions", headers=PREFLIGHT)) == {}
    assert cors_headers(plain.post("/v1/sessions", headers={"Origin": PAGE})) == {}


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000"])
def test_pages_of_named_origins_may_and_read_what_they_need(named, origin):
    asked = named.options("/v1/sessions", headers={**PREFLIGHT, "Origin": origin})
    made = named.post("/v1/sessions", headers={"Origin": origin})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == made.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in made.headers
    assert {"location", "retry-after", "ratelimit"} <= {
        h.strip().lower() for h in made.headers["access-control-expose-headers"].split(",")
    }
    assert "Origin" in made.headers["vary"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://notebook.example.evil.example", "http://notebook.example"]
)
def test_other_origins_may_not(named, origin):
    refused = named.options("/v1/sessions", headers={**PREFLIGHT, "Origin": origin})
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in named.post("/v1/sessions", headers={"Origin": origin}).headers


@pytest.mark.parametrize("asked", [{"Access-Control-Request-Method": "PUT"}, {"Access-Control-Request-Headers": "x-strange"}])
def test_what_no_page_may_send_is_a_problem_that_says_what_one_may(named, asked):
    refused = named.options("/v1/sessions", headers={**PREFLIGHT, **asked})

    assert (refused.status_code, refused.json()["type"]) == (400, "urn:telegrad:problem:request")
    assert "Idempotency-Key" in refused.json()["detail"]
    assert "strange" not in refused.text


def test_a_plain_options_request_still_tells_the_methods(named):
    answer = named.options("/v1/sessions")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize(
    "text", ["*", "example.org", "https://example.org/", "https://a.example, https://b.example", "https://A.example", ","]
)
def test_what_is_no_list_of_origins_is_refused_at_start(text):
    with pytest.raises(ArgumentValueError, match="CORS_ORIGINS must be origins"):
        load({}, {"TELEGRAD_CORS_ORIGINS": text})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("POST", "/v1/sessions"),
        ("GET", "/nowhere"),
        ("DELETE", "/healthz"),
        ("OPTIONS", "/v1/ops"),
        ("HEAD", "/v1/ops"),
    ],
)
@pytest.mark.parametrize("service", ["plain", "named"])
def test_every_answer_has_the_headers_that_protect(request, service, method, path):
    answer = request.getfixturevalue(service).request(method, path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"]
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers


def test_a_preflight_has_them_too(named):
    answer = named.options("/v1/sessions", headers=PREFLIGHT)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
