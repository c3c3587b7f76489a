"""Somebody who has nothing but HTTP and the OpenAPI document: what it says is what comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from telegrad_service.api.app import create_app
from telegrad_service.api.dispatch import find
from telegrad_service.api.routes import ENDPOINTS
from tests.service.test_errors import assert_problem

DOCUMENT = create_app().openapi()
REGISTRY: Any = Registry().with_resource("urn:document", Resource.from_contents(DOCUMENT, default_specification=DRAFT202012))


def spoken_of(answer: Any) -> str:
    """What the document fails to say of an answer; empty where all of it is as documented."""
    request = answer.request
    found = find(request.method, request.url.path)
    assert found is not None
    responses = DOCUMENT["paths"][found[0].path][request.method.lower()]["responses"]
    if str(answer.status_code) not in responses:
        return f"status {answer.status_code}"
    response = responses[str(answer.status_code)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    headers = {name.lower() for name in response.get("headers", ())} | EVERYWHERE
    if more := {name for name in answer.headers if name not in headers}:
        return f"headers {sorted(more)}"
    content = response.get("content", {})
    if not content:
        return "a body" if answer.content else ""
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type not in content:
        return f"media type {media_type}"
    if not media_type.endswith("json"):
        return ""
    schema = json.loads(json.dumps(content[media_type]["schema"]).replace('"#/', '"urn:document#/'))
    errors = OAS31Validator(schema, registry=REGISTRY).iter_errors(answer.json())
    return "; ".join(f"{error.json_path}: {error.message}" for error in errors)


EVERYWHERE = {
    *("content-length", "content-type", "cache-control", "server-timing", "content-security-policy", "referrer-policy"),
    *("x-content-type-options", "cross-origin-resource-policy"),
}
"""What HTTP itself explains, and the security headers."""


def test_the_examples_of_the_document_work_one_after_the_other_and_answer_as_it_says(client):
    """As somebody would who pastes them, in the order of a first session."""
    answers = [client.post("/v1/sessions", json=example("open_session"))]
    at = answers[0].headers["location"]

    def send(operation: str, **holes: str) -> Any:
        endpoint = next(e for e in ENDPOINTS if e.operation == operation)
        path = endpoint.path.replace("/v1/sessions/{session}", at).format(**holes)
        body = example(operation)
        answers.append(client.request(endpoint.method, path, **({} if body is None else {"json": body})))
        assert answers[-1].status_code in endpoint.answers, (operation, answers[-1].text)
        return answers[-1]

    send("batch")
    assert answers[-1].json()["results"][-1]["data"] == pytest.approx(0.7878)
    send("release_tensor", tensor="y")
    send("release_tensor", tensor="x1")
    send("create_tensor")
    answers.append(client.post(f"{at}/tensors", json={"id": "x2", "data": 0.7965, "requires_grad": True}))
    send("apply_op")
    send("backward")
    send("release_tensor", tensor="y")
    send("apply_op")
    answers.append(client.post(f"{at}/ops", json={"op": "add", "inputs": ["y", "x1"], "outputs": ["z"]}))
    body = {**example("grad"), "outputs": ["z"]}  # its own y depends on both
    answers.append(client.post(f"{at}/grad", json=body))
    assert answers[-1].json()["present"] == [True, True]
    send("set_tensor", tensor="x1")
    send("seed")
    program = send("store_program").json()["id"]
    send("run_program", program=program)
    for operation in ("list_programs", "list_tensors", "list_runs", "get_session"):
        send(operation)
    send("get_program", program=program)
    send("read_tensor", tensor="x1")
    send("read_grad", tensor="x2")
    answers.append(client.get(f"{at}/graph?root=z"))
    answers.append(client.get(f"{at}/graph/summary?root=z"))
    answers.extend(client.get(path) for path in ("/v1/sessions", "/v1/ops", "/v1/ops/add", "/healthz", "/readyz", "/metrics"))
    send("delete_program", program=program)
    send("delete_session")
    answers.append(send_nothing(client, at))

    assert [(str(a.request.url), said) for a in answers if (said := spoken_of(a))] == []


def send_nothing(client: Any, at: str) -> Any:
    """A request to a session that is gone."""
    return client.get(f"{at}/tensors/x")


def example(operation: str) -> Any:
    endpoint = next(e for e in ENDPOINTS if e.operation == operation)
    return endpoint.examples.get("application/json")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("seed", b'{"seed": 1e0}'),
        ("ops", b'{"op": "sum", "inputs": ["x"], "parameters": {"dim": 0.0}}'),
        ("ops", b'{"op": "zeros", "parameters": {"size": [2.0, 3]}}'),
        ("ops", b'{"op": "getitem", "inputs": ["x"], "parameters": {"index": [{"slice": [0.0, 1e0, null]}]}}'),
        ("tensors", b'{"base64": "AAAAAA==", "dtype": "float32", "shape": [1.0]}'),
        ("batch", b'{"commands": [{"command": "read", "tensor": "x", "index": [0.0]}]}'),
    ],
)
def test_whole_numbers_are_integers_however_a_language_writes_them(client, at, path, body):
    client.post(f"{at}/tensors", json={"id": "x", "data": [1.0, 2.0]})

    answer = client.post(f"{at}/{path}", content=body, headers={"content-type": "application/json"})

    assert answer.is_success, answer.text
    halved = body.replace(b"0.0", b"0.5").replace(b"1e0", b"5e-1").replace(b"2.0", b"2.5").replace(b"[1.0]", b"[1.5]")
    refused = client.post(f"{at}/{path}", content=halved, headers={"content-type": "application/json"})
    assert_problem(refused, status=422, code="argument-type")


def test_opening_a_session_takes_a_key_and_no_number(client):
    before = len(client.get("/v1/sessions?limit=1000").json()["sessions"])
    numbered = {"telegrad-client": "c" * 16, "telegrad-batch": "1"}

    problem = assert_problem(client.post("/v1/sessions", headers=numbered), status=400, code="request")

    assert "Idempotency-Key" in problem["detail"]
    assert len(client.get("/v1/sessions?limit=1000").json()["sessions"]) == before


def test_an_empty_key_is_told_what_a_key_is(client, at):
    problem = assert_problem(client.post(f"{at}/batch", json={"commands": []}, headers={"idempotency-key": ""}), status=400)

    assert "an Idempotency-Key is" in problem["detail"]


@pytest.mark.parametrize("name", ["add", "nn.functional.linear", "true_divide", "add_", "batch_norm"])
def test_the_catalogue_knows_every_name_that_a_request_may_use(client, name):
    row = client.get(f"/v1/ops/{name}").json()

    assert name in (row["name"], *row["aliases"], row["in_place"])


@pytest.mark.parametrize(("name", "near"), [("ad", "add"), ("torch.matmul", "matmul")])
def test_an_op_that_is_not_there_is_answered_with_those_of_similar_names(client, at, name, near):
    assert near in assert_problem(client.get(f"/v1/ops/{name}"), status=404)["detail"]
    assert near in assert_problem(client.post(f"{at}/ops", json={"op": name}), status=422, code="unknown-op")["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("ops", {"op": "add", "inputs": ["x", "nobody"]}),
        ("ops", {"op": "add_", "inputs": ["x", "x.grad"]}),
        ("backward", {"tensors": ["x", "nobody"]}),
        ("grad", {"outputs": ["x"], "inputs": ["x", "nobody"]}),
    ],
)
def test_a_tensor_that_is_not_there_is_told_by_its_place(client, at, path, body):
    client.post(f"{at}/tensors", json={"id": "x", "data": 1.0, "requires_grad": True})

    problem = assert_problem(client.post(f"{at}/{path}", json=body), status=404, code="not-found")

    assert "position 1" in problem["detail"]
    assert "nobody" not in problem["detail"]


def test_a_gradient_is_no_name_to_release_and_the_problem_says_how_it_is_dropped(client, at):
    client.post(f"{at}/tensors", json={"id": "x", "data": 1.0, "requires_grad": True})
    client.post(f"{at}/backward", json={"tensors": ["x"]})

    assert "grad to null" in assert_problem(client.delete(f"{at}/tensors/x.grad"), status=404, code="not-found")["detail"]
    assert client.patch(f"{at}/tensors/x", json={"grad": None}).json()["has_grad"] is False
    assert "no tensor of that name" in assert_problem(client.delete(f"{at}/tensors/nobody"), status=404)["detail"]


@pytest.mark.parametrize("query", ["limit", "limit=3&", "limit=%ff", "&"])
def test_a_query_that_cannot_be_read_is_told_what_one_is(client, at, query):
    assert "name=value" in assert_problem(client.get(f"{at}/tensors?{query}"), status=400, code="request")["detail"]


def test_a_read_that_json_cannot_answer_is_told_by_its_place(client, at):
    client.post(f"{at}/tensors", json={"id": "x", "data": 1.0})
    reads = [{"command": "read", "tensor": "x"}, {"command": "read", "tensor": "x", "encoding": "buffer"}]

    problem = assert_problem(client.post(f"{at}/batch", json={"commands": reads}), status=406)

    assert (problem["applied"], problem["failed"]) == (0, 1)
