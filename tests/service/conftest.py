"""A client of the service in this process, and a session there; a database server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from telegrad_service.api.app import create_app
from tests.postgres import Postgres, serving


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for tests that leave it running; those that stop it start one of their own."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The service with its default settings; faults come as answers, not as exceptions."""
    with TestClient(create_app(), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def at(client: TestClient) -> Iterator[str]:
    """The path of a fresh session."""
    address = client.post("/v1/sessions", json={"seed": 0}).headers["location"]
    yield address
    client.delete(address)


@pytest.fixture
def example(client: TestClient, at: str) -> str:
    """The path of a session that holds the worked example: x1, x2 and y = x1**2 + 5*x2."""
    commands = [
        {"command": "create", "id": "x1", "data": 0.3939, "requires_grad": True},
        {"command": "create", "id": "x2", "data": 0.7965, "requires_grad": True},
        {"command": "apply", "op": "pow", "inputs": ["x1", 2], "outputs": ["square"]},
        {"command": "apply", "op": "mul", "inputs": ["x2", 5], "outputs": ["five"]},
        {"command": "apply", "op": "add", "inputs": ["square", "five"], "outputs": ["y"]},
    ]
    answer = client.post(f"{at}/batch", json={"commands": commands})
    assert answer.status_code == 200, answer.text
    return at
