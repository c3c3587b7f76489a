"""Every failure of every route is one kind of body; the routes are read from the OpenAPI document, so none is forgotten."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from telegrad.contract.errors import PROBLEM_TYPE_PREFIX, all_errors
from telegrad_service.api.app import create_app
from telegrad_service.hosts import verbs

DOCUMENT = create_app().openapi()
CODES = {cls.code: cls.status for cls in all_errors()}
OPERATIONS = [(method.upper(), path, found) for path, methods in DOCUMENT["paths"].items() for method, found in methods.items()]
WITH_BODY = [o for o in OPERATIONS if "requestBody" in o[2]]
JSON_ROUTES = [o for o in WITH_BODY if "application/json" in o[2]["requestBody"]["content"]]
IN_SESSION = [o for o in OPERATIONS if "{session}" in o[1]]
SECRET = "zebra-4711"


def label(operation: Any) -> str:
    return f"{operation[0]} {operation[1]}"


def address(path: str, session: str = "unknown") -> str:
    return path.replace("{session}", session).replace("{tensor}", "x").replace("{op}", "add").replace("{program}", "p")


def query_for(operation: Any) -> dict[str, str]:
    """The query parameters that must be given."""
    return {p["name"]: "x" for p in operation.get("parameters", ()) if p["in"] == "query" and p["required"]}


def example_of(operation: Any) -> Any:
    return operation["requestBody"]["content"]["application/json"]["example"]


def assert_problem(answer: Any, *, status: int | None = None, code: str | None = None) -> dict[str, Any]:
    """The answer is a problem as the document says, and repeats nothing of the request."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert CODES[problem["type"].removeprefix(PROBLEM_TYPE_PREFIX)] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert SECRET not in answer.text
    if status is not None:
        assert answer.status_code == status, answer.text
    if code is not None:
        assert problem["type"] == PROBLEM_TYPE_PREFIX + code
    return problem


@pytest.fixture
def session(client) -> str:
    """The id of a session with a tensor x that requires grad."""
    made = client.post("/v1/sessions").json()["id"]
    client.post(f"/v1/sessions/{made}/tensors", json={"id": "x", "data": 1.0, "requires_grad": True})
    return made


@pytest.mark.parametrize("operation", OPERATIONS, ids=map(label, OPERATIONS))
def test_a_method_that_a_path_does_not_have_is_405(client, session, operation):
    _, path, _ = operation
    known = {m for m, p, _ in OPERATIONS if p == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
        answer = client.request(method, address(path, session))

        assert_problem(answer, status=405, code="method-not-allowed")
        assert known <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("operation", IN_SESSION, ids=map(label, IN_SESSION))
def test_an_unknown_session_is_404_before_the_body_is_looked_at(client, operation):
    method, path, found = operation
    content = b"{" if "requestBody" in found else None

    answer = client.request(
        method, address(path), params=query_for(found), content=content, headers={"content-type": "application/json"}
    )

    assert_problem(answer, status=404, code="not-found")


@pytest.mark.parametrize("operation", OPERATIONS, ids=map(label, OPERATIONS))
def test_an_unknown_query_parameter_is_422(client, session, operation):
    method, path, found = operation

    answer = client.request(method, address(path, session), params={**query_for(found), SECRET: SECRET})

    assert_problem(answer, status=422, code="argument-type")


@pytest.mark.parametrize("operation", OPERATIONS, ids=map(label, OPERATIONS))
@pytest.mark.parametrize("query", ["a=1&a=2", "%ff=1", "a&b", "x=%fe"])
def test_a_query_string_that_cannot_be_read_is_400(client, session, operation, query):
    method, path, _ = operation

    answer = client.request(method, f"{address(path, session)}?{query}")

    assert_problem(answer, status=400, code="request")


@pytest.mark.parametrize("operation", JSON_ROUTES, ids=map(label, JSON_ROUTES))
@pytest.mark.parametrize(
    "body", [b'{"' + SECRET.encode(), b"[1,", b"nan", b'{"a": NaN}', b'{"a":1,"a":2}', b"\xff\xfe{}", b"[" * 5000]
)
def test_malformed_json_is_400(client, session, operation, body):
    method, path, _ = operation

    answer = client.request(method, address(path, session), content=body, headers={"content-type": "application/json"})

    assert_problem(answer, status=400, code="request")


@pytest.mark.parametrize("operation", WITH_BODY, ids=map(label, WITH_BODY))
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": SECRET + "/x"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json", "content-encoding": SECRET},
        {},
    ],
)
def test_a_body_of_another_kind_is_415(client, session, operation, headers):
    method, path, _ = operation

    answer = client.request(method, address(path, session), content=b"{}", headers=headers)

    assert_problem(answer, status=415, code="unsupported-media-type")


@pytest.mark.parametrize("operation", JSON_ROUTES, ids=map(label, JSON_ROUTES))
def test_an_unknown_field_is_422(client, session, operation):
    method, path, found = operation

    answer = client.request(method, address(path, session), json={**example_of(found), SECRET: SECRET})

    assert_problem(answer, status=422, code="argument-type")


@pytest.mark.parametrize("operation", JSON_ROUTES, ids=map(label, JSON_ROUTES))
@pytest.mark.parametrize("value", [[], "x", 1, None, True, [[{}]], {"tensor": 5, "seed": "x"}])
def test_a_field_of_another_type_is_422(client, session, operation, value):
    method, path, found = operation
    body = dict.fromkeys(example_of(found), value) if isinstance(value, dict) else value

    answer = client.request(method, address(path, session), content=json.dumps(body), headers={"content-type": "application/json"})

    assert_problem(answer, status=422)


@pytest.mark.parametrize("operation", OPERATIONS, ids=map(label, OPERATIONS))
def test_an_accept_header_that_nothing_fits_is_406(client, session, operation):
    method, path, found = operation
    if not any("content" in answer for status, answer in found["responses"].items() if status.startswith("2")):
        pytest.skip("it answers without a body")

    answer = client.request(method, address(path, session), params=query_for(found), headers={"accept": f"{SECRET}/x"})

    assert_problem(answer, status=406, code="not-acceptable")


@pytest.mark.parametrize("operation", OPERATIONS, ids=map(label, OPERATIONS))
def test_a_fault_of_ours_is_500_and_says_nothing(client, session, operation, monkeypatch, caplog):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr("telegrad_service.api.dispatch.Call", broken)
    method, path, _ = operation

    answer = client.request(method, address(path, session))

    problem = assert_problem(answer, status=500, code="internal")
    assert problem["request_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_fault_while_computing_is_500_and_leaves_the_session(client, session, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    with monkeypatch.context() as patched:
        patched.setattr(verbs, "VERBS", {**verbs.VERBS, "summary": broken})
        assert_problem(client.get(f"/v1/sessions/{session}"), status=500)

    assert client.get(f"/v1/sessions/{session}").json()["tensors"] == 1


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/sessions", "/v1/sessions/", "/docs", "/v1/sessions/a/tensors/b/c", f"/{SECRET}", "/%ff"]
)
def test_an_unknown_path_is_404(client, path):
    assert_problem(client.get(path), status=404, code="not-found")


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p, _ in OPERATIONS])
def test_every_route_documents_the_failures_all_routes_have(method, path):
    answers = DOCUMENT["paths"][path][method.lower()]["responses"]

    assert {"400", "422", "500"} <= set(answers)
    assert all("$ref" in a or {"description", "headers"} <= set(a) for a in answers.values())


def test_every_problem_in_the_document_is_the_same_schema():
    for response in DOCUMENT["components"]["responses"].values():
        assert response["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        assert "X-Request-Id" in response["headers"]


def test_the_document_lists_every_problem_type():
    examples = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["examples"]

    assert examples == [PROBLEM_TYPE_PREFIX + cls.code for cls in all_errors()]
    assert all(re.fullmatch(r"urn:telegrad:problem:[a-z-]+", t) for t in examples)


def test_no_error_repeats_the_values_of_its_request(client, session):
    at = f"/v1/sessions/{session}"
    bodies = [
        ("tensors", {"id": f"{SECRET}!", "data": 1}),
        ("tensors", {"id": "a", "data": [1, SECRET]}),
        ("tensors", {"id": "a", "base64": SECRET, "dtype": "float32", "shape": [1]}),
        ("tensors", {"id": "a", "data": 1, "dtype": SECRET}),
        ("tensors", {SECRET: 1}),
        ("ops", {"op": SECRET}),
        ("ops", {"op": "add", "inputs": [SECRET, 1]}),
        ("ops", {"op": "add", "inputs": ["x", 1], "parameters": {SECRET: 1}}),
        ("ops", {"op": "sum", "inputs": ["x"], "parameters": {"dtype": SECRET}}),
        ("ops", {"op": "einsum", "inputs": ["x"], "parameters": {"equation": SECRET}}),
        ("backward", {"tensors": [SECRET]}),
        ("grad", {"outputs": ["x"], "inputs": [SECRET]}),
        ("seed", {"seed": SECRET}),
        ("batch", {"commands": [{"command": SECRET}]}),
        ("batch", {"commands": [{"command": "create", "id": "a", "buffer": SECRET}]}),
        ("batch", {"commands": [{"command": "run", "program": SECRET}]}),
    ]
    for path, body in bodies:
        answer = client.post(f"{at}/{path}", json=body)

        assert answer.status_code in (400, 404, 422), (body, answer.text)
        assert SECRET not in answer.text, json.dumps(body)
