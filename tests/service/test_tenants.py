"""The matrix of tenants, generated from the OpenAPI document: on every route and with every method, another tenant's session
answers exactly as one that does not exist, and nothing of it is changed or shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from telegrad_service.access.keys import KeyStore
from telegrad_service.api.app import create_app
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.settings import Settings
from tests.service.test_errors import DOCUMENT, query_for

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
PATHS = [path for path in DOCUMENT["paths"] if "{session}" in path]
CELLS = [(method, path) for path in PATHS for method in METHODS]
NOBODYS = "A" * 22
SECRET_VALUE = 271828.5


class Tenants:
    """A server with two tenants: one has a session with everything in it, the other has a key."""

    def __init__(self, client: TestClient, store: KeyStore) -> None:
        self.client = client
        self.owner, self.other = (
            {"authorization": f"Bearer {store.create(t, ['read', 'write'])[1]}"} for t in ("acme", "umbrella")
        )
        opened = client.post("/v1/sessions", headers={**self.owner, "idempotency-key": '"first"'})
        self.session = opened.json()["id"]
        at = f"/v1/sessions/{self.session}"
        commands = [
            {"command": "create", "id": "x", "data": SECRET_VALUE, "requires_grad": True},
            {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
            {"command": "backward", "tensors": ["y"], "retain_graph": True},
        ]
        assert client.post(f"{at}/batch", headers=self.owner, json={"commands": commands}).status_code == 200
        stored = client.post(f"{at}/programs", headers=self.owner, json={"commands": commands[1:2], "inputs": ["x"]})
        self.program = stored.json()["id"]

    def state(self) -> Any:
        at = f"/v1/sessions/{self.session}"
        paths = (at, f"{at}/tensors", f"{at}/tensors/x", f"{at}/tensors/x/grad", f"{at}/programs")
        return [self.client.get(path, headers=self.owner).json() for path in paths]

    def ask(self, method: str, path: str, session: str, headers: dict[str, str], body: tuple[str, bytes] | None) -> Any:
        """What the other tenant is told, but for what differs from request to request."""
        filled = path.replace("{session}", session).replace("{tensor}", "x").replace("{program}", self.program)
        operation = DOCUMENT["paths"][path].get("get" if method == "HEAD" else method.lower(), {})
        extra = {} if body is None else {"content-type": body[0]}
        answer = self.client.request(
            method,
            filled.replace("{run}", "r"),
            params=query_for(operation),
            headers={**headers, **extra},
            content=None if body is None else body[1],
        )
        shown = {k: v for k, v in answer.json().items() if k != "request_id"} if answer.content else {}
        kept = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "server-timing")}
        assert str(SECRET_VALUE) not in answer.text
        assert self.session not in answer.text
        return answer.status_code, shown, kept


@pytest.fixture(scope="module", params=["inline", "process"])
def tenants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    file: Path = tmp_path_factory.mktemp("keys") / "keys"
    store = KeyStore(file, create=True)
    settings = Settings(keys_file=str(file))
    host = None
    if request.param == "process":
        host = ProcessHost(settings.limits, max_waiting_requests=100, request_seconds=60)
    with TestClient(create_app(settings, host), raise_server_exceptions=False) as client:
        yield Tenants(client, store)
    store.close()


def bodies(method: str, path: str) -> list[tuple[str, bytes] | None]:
    """None, then an example in each form that the document names, then rubbish."""
    content = DOCUMENT["paths"][path].get(method.lower(), {}).get("requestBody", {}).get("content", {})
    examples = [(form, json.dumps(given["example"]).encode()) for form, given in content.items() if "example" in given]
    rubbish = [(form, b"\x00\xff{") for form in content]
    return [None, *examples, *rubbish]


@pytest.mark.parametrize(("method", "path"), CELLS, ids=[f"{m} {p}" for m, p in CELLS])
def test_another_tenants_session_answers_as_one_that_does_not_exist(tenants, method, path):
    before = tenants.state()
    known = method.lower() in DOCUMENT["paths"][path] or (method == "HEAD" and "get" in DOCUMENT["paths"][path])
    for body in bodies(method, path):
        theirs = tenants.ask(method, path, tenants.session, tenants.other, body)
        nobodys = tenants.ask(method, path, NOBODYS, tenants.other, body)

        assert theirs == nobodys
        assert theirs[0] == (404 if known else 204 if method == "OPTIONS" else 405), theirs
    assert tenants.state() == before


@pytest.mark.parametrize(("method", "path"), CELLS, ids=[f"{m} {p}" for m, p in CELLS])
def test_without_a_key_nothing_is_told_apart_either(tenants, method, path):
    theirs = tenants.ask(method, path, tenants.session, {}, None)

    assert theirs == tenants.ask(method, path, NOBODYS, {}, None)
    assert theirs[0] in (401, 405, 204)


def test_the_matrix_has_every_route_of_a_session(tenants):
    rows = {(m, p) for p in PATHS for m in DOCUMENT["paths"][p]}
    assert len(PATHS) >= 15
    assert {(m.upper(), p) for m, p in rows} <= set(CELLS)


def test_the_owner_reaches_all_of_it(tenants):
    at = f"/v1/sessions/{tenants.session}"
    assert tenants.client.get(f"{at}/tensors/x", headers=tenants.owner).json()["data"] == SECRET_VALUE


def test_the_same_idempotency_key_is_another_session_for_another_tenant(tenants):
    opened = tenants.client.post("/v1/sessions", headers={**tenants.other, "idempotency-key": '"first"'})
    again = tenants.client.post("/v1/sessions", headers={**tenants.owner, "idempotency-key": '"first"'})

    assert opened.json()["id"] != tenants.session == again.json()["id"]
    listed = tenants.client.get("/v1/sessions", headers=tenants.other).json()["sessions"]
    assert [s["id"] for s in listed] == [opened.json()["id"]]
