"""What schemathesis makes of the OpenAPI document is answered as the document says, and never with a fault."""

from __future__ import annotations

from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from telegrad.contract.limits import Limits
from telegrad_service.api.app import create_app
from telegrad_service.settings import Settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# Small, so that what the fuzz asks for is refused rather than computed for long.
LIMITS = Limits(
    max_tensor_bytes=2**20, max_session_bytes=2**24, max_command_flops=10**7, max_tensors=500, max_nodes=2000, max_run_times=20
)
APP = create_app(Settings(limits=LIMITS))
DOCUMENT = APP.openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: list[Any] = [cast(Any, found).ok() for found in schema.get_all_operations()]

SETUP = [
    {"command": "create", "id": "x", "data": [1.0, 2.0, 3.0], "requires_grad": True},
    {"command": "create", "id": "i", "data": [0, 1, 2]},
    {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
]


@pytest.fixture(scope="module")
def client() -> Any:
    with TestClient(APP, raise_server_exceptions=False) as opened:
        yield opened


@schemathesis.serializer("application/x-npy", "application/vnd.safetensors")
def binary(context: Any, value: Any) -> Any:
    """Bodies of these types are bytes as drawn."""
    return value if isinstance(value, bytes) else str(value).encode()


def send(client: TestClient, case: Any) -> Any:
    """The case as a request to the application in this process."""
    request: Any = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    return client.request(request.method, request.url, headers=dict(request.headers), content=request.body)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[found.label for found in OPERATIONS])
def test_the_fuzz_finds_nothing(operation, client):
    session = client.post("/v1/sessions").json()["id"]
    client.post(f"/v1/sessions/{session}/batch", json={"commands": SETUP})
    keeps = operation.label != "DELETE /v1/sessions/{session}"

    @settings(
        max_examples=60 if "requestBody" in operation.definition.raw else 20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), tensor=st.sampled_from(["x", "y", "i", "nobody"]), known=st.booleans())
    def run(case: Any, tensor: str, known: bool) -> None:
        if known and keeps and "session" in case.path_parameters:
            case.path_parameters["session"] = session
            if "tensor" in case.path_parameters:
                case.path_parameters["tensor"] = tensor
        case.validate_response(send(client, case), checks=CHECKS)

    run()
