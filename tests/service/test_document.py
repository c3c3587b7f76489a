"""The OpenAPI document and the exported files: valid, complete, and what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Match, Mount
from starlette.testclient import TestClient

from telegrad.contract.commands import COMMANDS
from telegrad_service.api import catalogue, export, reference
from telegrad_service.api.app import create_app
from telegrad_service.api.dispatch import find, methods_of
from telegrad_service.api.routes import ENDPOINTS

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = create_app().openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_the_document_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)


def test_the_exported_files_are_what_the_code_says():
    assert export.drift(REPOSITORY) == [], "run `make openapi` and commit the result"


def test_drift_is_shown_and_fails(tmp_path, capsys):
    assert export.main(["--folder", str(tmp_path)]) == 0
    assert export.main(["--check", "--folder", str(tmp_path)]) == 0
    (tmp_path / "openapi" / "ops.json").write_text((tmp_path / "openapi" / "ops.json").read_text().replace('"add"', '"plus"', 1))
    capsys.readouterr()

    assert export.main(["--check", "--folder", str(tmp_path)]) == 1

    told = capsys.readouterr().err
    assert '"plus"' in told
    assert "make openapi" in told


def test_a_missing_file_is_drift(tmp_path):
    assert len(export.drift(tmp_path)) == 3


def test_the_service_answers_its_own_document(client):
    assert client.get("/openapi.json").json() == DOCUMENT
    assert client.get("/v1/ops").json() == catalogue.document()


def test_every_endpoint_is_documented_and_every_operation_id_is_there_once():
    documented = {(m.upper(), p): o["operationId"] for p, methods in DOCUMENT["paths"].items() for m, o in methods.items()}

    assert set(documented) == {(e.method, e.path) for e in ENDPOINTS}
    assert len(set(documented.values())) == len(documented)


def test_the_methods_of_a_path_are_those_of_its_endpoints():
    for endpoint in ENDPOINTS:
        assert endpoint.method in methods_of(endpoint.path.replace("{", "").replace("}", ""))
    assert methods_of("/nowhere") == []


def test_every_op_has_its_call_and_every_command_its_schema():
    calls = SCHEMAS["OpCall"]["discriminator"]["mapping"]

    for name, row in catalogue.rows().items():
        for spelling in [name, *([row["in_place"]] if row["in_place"] else [])]:
            component = calls[spelling].rsplit("/", 1)[-1]
            assert spelling in SCHEMAS[component]["properties"]["op"]["enum"]
        assert set(SCHEMAS[f"Op.{name}"]["properties"]["parameters"]["properties"]) == {p["name"] for p in row["parameters"]}
    assert set(SCHEMAS["Command"]["discriminator"]["mapping"]) == set(COMMANDS)


def test_every_schema_is_used():
    text = json.dumps(DOCUMENT)

    unused = [name for name in SCHEMAS if f'"#/components/schemas/{name}"' not in text]

    assert unused == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[e.operation for e in ENDPOINTS])
def test_every_path_parameter_and_answer_is_described(endpoint):
    operation = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]

    assert {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"} == set(endpoint.holes)
    assert all(p["description"] for p in operation.get("parameters", ()))
    assert operation["summary"]
    assert set(operation["responses"]) == {str(s) for s in [*endpoint.answers, *endpoint.problems()]}
    assert "requestBody" not in operation or operation["requestBody"]["content"]


def test_the_examples_of_bodies_are_accepted(client, example):
    client.delete(f"{example}/tensors/x1")
    client.delete(f"{example}/tensors/y")
    client.post(f"{example}/tensors", json={"id": "x1", "data": 1.0, "requires_grad": True})
    for endpoint in ENDPOINTS:
        body = endpoint.examples.get("application/json")
        if body is None or endpoint.operation in ("create_tensor", "batch", "backward", "grad", "run_program"):
            continue
        path = endpoint.path.replace("/v1/sessions/{session}", example).replace("{tensor}", "x1")
        answer = client.request(endpoint.method, path, json=body)
        assert answer.status_code in endpoint.answers, (endpoint.operation, answer.text)


def test_the_reference_shows_every_op_and_the_text_of_its_formulas():
    page = reference.page()

    for name in catalogue.public_ops():
        assert f"\n### {name}\n" in page
    assert "- Formula for other: `g * F.conjugate(self)`" in page
    assert "- No gradient: " in page
    assert "- Needs: scipy" in page


def test_the_shortcut_finds_the_route_that_the_framework_would_find():
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{", "").replace("}", "")
        scope = {"type": "http", "method": endpoint.method, "path": path, "root_path": "", "headers": []}
        routed = next(r for r in create_app().routes if r.matches(dict(scope))[0] == Match.FULL)

        found = find(endpoint.method, path)

        assert found is not None
        assert found[0] is endpoint
        assert found[0].path == routed.path
        assert found[1] == routed.matches(dict(scope))[1]["path_params"]


def test_an_application_mounted_in_another_one_answers_as_well():
    with TestClient(Starlette(routes=[Mount("/inner", create_app())])) as client:
        made = client.post("/inner/v1/sessions")

        assert made.status_code == 201
        assert client.get(f"/inner/v1/sessions/{made.json()['id']}").json()["tensors"] == 0
        assert client.get("/inner/v1/sessions/none").json()["type"].endswith("not-found")
