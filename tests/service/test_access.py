"""Who may: keys, tokens, scopes, tenants. One tenant's sessions do not exist for another, on any route."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from starlette.testclient import TestClient

import telegrad
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError, ConfigurationError, NotFoundError, UnauthenticatedError
from telegrad_service.__main__ import main
from telegrad_service.access import keys as keys_module
from telegrad_service.access.keys import KeyStore
from telegrad_service.api.app import create_app
from telegrad_service.api.endpoint import REQUIRED, Endpoint
from telegrad_service.api.routes import ENDPOINTS
from telegrad_service.settings import JWT_ALGORITHMS, Settings, load

SECRET = "a shared secret of more than 64 bytes, so that every method would take it"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@pytest.fixture
def store(file: Path) -> Iterator[KeyStore]:
    opened = KeyStore(file, create=True)
    yield opened
    opened.close()


@pytest.fixture
def client(store: KeyStore, file: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(keys_file=str(file))), raise_server_exceptions=False) as opened:
        yield opened


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def key(store: KeyStore, tenant: str = "acme", *scopes: str, **settings: Any) -> dict[str, str]:
    return bearer(store.create(tenant, scopes or ("read", "write"), **settings)[1])


# Keys ---------------------------------------------------------------------------------------------------------------------------


def test_a_key_opens_the_service_and_nothing_else_does(client, store):
    good = key(store)
    assert client.post("/v1/sessions", headers=good).status_code == 201

    refused = [
        {},
        bearer("tg_000000000000_" + "A" * 43),
        bearer(good["authorization"][7:-1] + "_"),
        bearer("nonsense"),
        bearer("x" * 10_000),
        {"authorization": "Basic dGc6dGc="},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \x7f"},
    ]
    for headers in refused:
        answer = client.post("/v1/sessions", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:telegrad:problem:unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert all(v[7:] not in answer.text for v in headers.values() if len(v) > 20)


def test_two_authorisations_are_refused(client, store):
    given = key(store)["authorization"]
    answer = client.get("/v1/sessions", headers=[("authorization", given), ("authorization", given)])
    assert answer.status_code == 401


def test_a_revoked_key_opens_nothing_from_the_next_second_on(client, store, monkeypatch):
    monkeypatch.setattr(keys_module, "FRESH_SECONDS", 0.0)
    made, text = store.create("acme", ["read"])
    assert client.get("/v1/sessions", headers=bearer(text)).status_code == 200

    store.revoke(made.id)

    assert client.get("/v1/sessions", headers=bearer(text)).status_code == 401


def test_an_expired_key_opens_nothing(client, store, monkeypatch):
    headers = key(store, "acme", "read", expires_seconds=100)
    assert client.get("/v1/sessions", headers=headers).status_code == 200
    later = time.time() + 101
    monkeypatch.setattr(time, "time", lambda: later)
    assert client.get("/v1/sessions", headers=headers).status_code == 401


def test_the_file_has_the_hash_and_not_the_key_and_belongs_to_its_owner(store, file):
    _, text = store.create("acme", ["read"])
    assert text.split("_", 2)[2].encode() not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    assert len(text.split("_", 2)[2]) * 6 >= 128  # bits


@pytest.mark.parametrize(
    ("tenant", "scopes", "settings"),
    [
        ("", ["read"], {}),
        ("a b", ["read"], {}),
        ("acme", [], {}),
        ("acme", ["root"], {}),
        ("acme", ["read"], {"expires_seconds": 0.0}),
        ("acme", ["read"], {"expires_seconds": math.inf}),
        ("acme", ["read"], {"expires_seconds": math.nan}),
        ("acme", ["read"], {"expires_seconds": 1e300}),
    ],
)
def test_keys_that_mean_nothing_are_not_made(store, tenant, scopes, settings):
    with pytest.raises(ArgumentValueError):
        store.create(tenant, scopes, **settings)
    assert store.list() == []


def test_a_missing_or_foreign_key_file_is_refused_at_start(tmp_path):
    with pytest.raises(ConfigurationError, match="keys create"):
        create_app(Settings(keys_file=str(tmp_path / "none")))
    other = tmp_path / "other"
    other.write_text("this is no database, but a text of some length " * 20)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        create_app(Settings(keys_file=str(other)))


# Scopes -------------------------------------------------------------------------------------------------------------------------


def test_reading_needs_read_and_changing_needs_write(client, store):
    reader, writer = key(store, "acme", "read"), key(store, "acme", "write")
    address = client.post("/v1/sessions", headers=writer).headers["location"]

    assert client.get(address, headers=reader).status_code == 200
    for method, path in (("POST", "/v1/sessions"), ("DELETE", address), ("POST", f"{address}/backward")):
        answer = client.request(method, path, headers=reader)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:telegrad:problem:forbidden")
        assert "write" in answer.json()["detail"]
    assert client.get(address, headers=writer).status_code == 403


def test_health_is_open_and_documents_are_open_where_a_setting_says_so(client, file):
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/openapi.json").status_code == 401
    assert client.get("/v1/ops").status_code == 401
    with TestClient(create_app(Settings(keys_file=str(file), public_docs=True))) as open_docs:
        assert open_docs.get("/openapi.json").status_code == 200
        assert open_docs.get("/v1/sessions").status_code == 401


# Tenants ------------------------------------------------------------------------------------------------------------------------


def asked(endpoint: Endpoint) -> str:
    """The path of an endpoint with the query that it requires."""
    needed = "&".join(f"{q.name}=x" for q in endpoint.query if q.default is REQUIRED)
    return f"{endpoint.path}?{needed}" if needed else endpoint.path


IN_SESSIONS = [(e.method, asked(e)) for e in ENDPOINTS if e.in_session]


@pytest.mark.parametrize(("method", "path"), IN_SESSIONS, ids=[f"{m} {p}" for m, p in IN_SESSIONS])
def test_another_tenants_session_answers_as_one_that_does_not_exist(client, store, method, path):
    owner, other = key(store, "acme"), key(store, "umbrella")
    address = client.post("/v1/sessions", headers=owner).headers["location"]
    client.post(f"{address}/tensors", headers=owner, json={"id": "x", "data": [1.0], "requires_grad": True})
    before = client.get(address, headers=owner).json()

    def ask(session: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        holes = {"{session}": session, "{tensor}": "x", "{program}": "sha256:" + "0" * 64}
        filled = path
        for hole, value in holes.items():
            filled = filled.replace(hole, value)
        answer = client.request(method, filled, headers=other, json={} if method != "GET" else None)
        shown = {k: v for k, v in answer.json().items() if k != "request_id"} if answer.content else {}
        kept = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "server-timing")}
        return answer.status_code, shown, kept

    theirs, nobodys = ask(address.rsplit("/", 1)[-1]), ask("A" * 22)

    assert theirs == nobodys
    assert theirs[0] == 404
    assert client.get(address, headers=owner).json() == before


def test_a_list_shows_ones_own_sessions_only(client, store):
    owner, other = key(store, "acme"), key(store, "umbrella")
    client.post("/v1/sessions", headers=owner)
    assert len(client.get("/v1/sessions", headers=owner).json()["sessions"]) == 1
    assert client.get("/v1/sessions", headers=other).json()["sessions"] == []


def test_two_keys_of_one_tenant_share_its_sessions(client, store):
    first, second = key(store, "acme"), key(store, "acme")
    address = client.post("/v1/sessions", headers=first).headers["location"]
    assert client.get(address, headers=second).status_code == 200


# The file, while a server runs -------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FRESH_SECONDS", 0.0)


def test_a_file_that_is_replaced_is_followed(client, store, file, fresh):
    old = key(store)
    assert client.get("/v1/sessions", headers=old).status_code == 200
    other = KeyStore(file.with_name("other"), create=True)
    new = key(other)
    other.close()
    file.with_name("other").replace(file)
    assert client.get("/v1/sessions", headers=old).status_code == 401
    assert client.get("/v1/sessions", headers=new).status_code == 200


@pytest.mark.parametrize("content", [None, b"", b"no database " * 1000])
def test_a_file_that_cannot_be_read_any_more_lets_nobody_in_and_says_so(client, store, file, fresh, content, caplog):
    headers = key(store)
    assert client.get("/v1/sessions", headers=headers).status_code == 200
    aside = file.with_name("aside")
    file.rename(aside)
    if content is not None:
        file.write_bytes(content)
    refused = client.get("/v1/sessions", headers=headers)
    if content == b"":  # a file of keys in which there are none yet
        assert refused.status_code == 401
    else:
        assert (refused.status_code, "file of keys" in refused.json()["detail"]) == (503, True)
        assert refused.headers["retry-after"]
        assert client.get("/readyz").status_code == 503
        assert "nobody is let in" in caplog.text
    aside.replace(file)
    assert client.get("/v1/sessions", headers=headers).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_nobody_waits_for_whoever_writes_to_the_file(client, store, file, fresh):
    headers = key(store)
    assert client.get("/v1/sessions", headers=headers).status_code == 200
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    assert client.get("/v1/sessions", headers=headers).status_code == 200  # as it was known
    assert time.monotonic() - begun < keys_module._BUSY_SECONDS
    writer.execute("UPDATE keys SET revoked = 1")
    writer.execute("COMMIT")
    writer.close()
    assert client.get("/v1/sessions", headers=headers).status_code == 401


def test_a_file_that_may_not_be_written_is_enough_to_let_people_in(store, file, monkeypatch):
    headers = key(store)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options))
    with TestClient(create_app(Settings(keys_file=str(file)))) as opened:
        assert opened.get("/v1/sessions", headers=headers).status_code == 200


def test_a_database_without_keys_of_ours_is_refused_at_start(tmp_path):
    other = tmp_path / "other.sqlite3"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE keys (name TEXT)")
    database.close()
    with pytest.raises(ConfigurationError, match="no keys of telegrad's"):
        create_app(Settings(keys_file=str(other)))
    assert main(["keys", "list", "--keys-file", str(other)]) == 1


# Tokens -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TestClient]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    settings = Settings(jwt_key_file=str(secret), jwt_algorithm="HS256", jwt_issuer="https://id.test", jwt_audience="telegrad")
    with TestClient(create_app(settings), raise_server_exceptions=False) as opened:
        yield opened


def claims(**changes: Any) -> dict[str, Any]:
    whole = {"exp": time.time() + 60, "iss": "https://id.test", "aud": "telegrad", "tenant": "acme", "scope": "read write"}
    return {k: v for k, v in {**whole, **changes}.items() if v is not None}


def test_a_token_of_the_trusted_issuer_opens_the_service(tokens):
    good = bearer(jwt.encode(claims(), SECRET, "HS256"))
    assert tokens.post("/v1/sessions", headers=good).status_code == 201
    reader = bearer(jwt.encode(claims(scope="read"), SECRET, "HS256"))
    assert tokens.post("/v1/sessions", headers=reader).status_code == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": 1.0},
        {"iss": "https://other.test"},
        {"aud": "other"},
        {"tenant": None},
        {"tenant": ""},
        {"tenant": 7},
        {"scope": None},
        {"scope": ""},
        {"scope": "root"},
        {"scope": ["read"]},
    ],
    ids=json.dumps,
)
def test_tokens_with_wrong_claims_open_nothing(tokens, changes):
    headers = bearer(jwt.encode(claims(**changes), SECRET, "HS256"))
    assert tokens.get("/v1/sessions", headers=headers).status_code == 401


def test_tokens_checked_by_another_method_or_key_open_nothing(tokens):
    for text in (
        jwt.encode(claims(), SECRET + "!", "HS256"),
        jwt.encode(claims(), SECRET, "HS512"),
        jwt.encode(claims(), None, "none"),
    ):
        assert tokens.get("/v1/sessions", headers=bearer(text)).status_code == 401


def test_a_key_of_tokens_that_is_none_is_refused_at_start(tmp_path):
    short = tmp_path / "short"
    short.write_text("short")
    for algorithm, words in (("HS256", "32"), ("EdDSA", "PEM")):
        with pytest.raises(ConfigurationError, match=words):
            create_app(Settings(jwt_key_file=str(short), jwt_algorithm=algorithm))


def test_a_key_of_another_kind_than_the_algorithm_s_is_refused_at_start(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    keys = {
        "RS256": rsa.generate_private_key(65537, 2048).public_key(),
        "ES256": ec.generate_private_key(ec.SECP256R1()).public_key(),
        "EdDSA": ed25519.Ed25519PrivateKey.generate().public_key(),
    }
    path = tmp_path / "key.pem"
    for kind, public in keys.items():
        path.write_bytes(public.public_bytes(encoding, form))
        for algorithm in JWT_ALGORITHMS:
            settings = Settings(jwt_key_file=str(path), jwt_algorithm=algorithm)
            if algorithm == kind:
                create_app(settings)
            else:
                with pytest.raises(ConfigurationError, match=f"for {algorithm}"):
                    create_app(settings)
    path.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    for algorithm in JWT_ALGORITHMS:
        with pytest.raises(ConfigurationError, match=f"for {algorithm}"):
            create_app(Settings(jwt_key_file=str(path), jwt_algorithm=algorithm))


def test_a_public_key_is_enough_to_check_tokens(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    with TestClient(create_app(Settings(jwt_key_file=str(tmp_path / "public.pem")))) as opened:
        good = jwt.encode(claims(iss=None, aud=None), private, "EdDSA")
        assert opened.get("/v1/sessions", headers=bearer(good)).status_code == 200
        confused = jwt.encode(claims(iss=None, aud=None), "the public key is no secret at all" * 2, "HS256")
        assert opened.get("/v1/sessions", headers=bearer(confused)).status_code == 401


# Settings and command line --------------------------------------------------------------------------------------------------------


def test_an_address_others_reach_needs_keys_or_a_plain_word():
    with pytest.raises(ArgumentValueError, match="keys create"):
        load({"host": "0.0.0.0"}, {})
    assert load({"host": "0.0.0.0", "keys_file": "keys"}, {}).host == "0.0.0.0"
    assert load({"host": "0.0.0.0", "allow_remote": "true"}, {}).allow_remote


def test_the_command_line_makes_lists_and_revokes_keys(file, capsys):
    assert main(["keys", "create", "--keys-file", str(file), "--tenant", "acme", "--scopes", "read", "--note", "laptop"]) == 0
    text = capsys.readouterr().out.strip()
    store = KeyStore(file)
    found = store.find(text)
    assert found is not None
    assert (found.tenant, found.scopes) == ("acme", frozenset({"read"}))

    assert main(["keys", "list", "--keys-file", str(file)]) == 0
    listed = capsys.readouterr().out
    assert "acme" in listed
    assert "laptop" in listed
    assert text not in listed

    assert main(["keys", "revoke", "--keys-file", str(file), found.key_id]) == 0
    assert "revoked" in capsys.readouterr().err
    store.close()
    again = KeyStore(file)
    assert again.find(text) is None
    again.close()
    assert main(["keys", "revoke", "--keys-file", str(file), "000000000000"]) == 1
    assert main(["keys", "create", "--keys-file", str(file), "--tenant", "a b"]) == 1
    assert main(["keys", "list"]) == 2
    assert main(["keys", "list", "--keys-file", str(file.with_name("none"))]) == 1


def test_a_database_of_another_kind_is_not_written_to(tmp_path):
    other = tmp_path / "other.sqlite3"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE keys (name TEXT)")
    database.close()
    store = KeyStore(other)
    with pytest.raises(sqlite3.Error):
        store.list()
    store.close()


# The client -----------------------------------------------------------------------------------------------------------------------


def test_the_client_sends_its_key_and_shows_it_nowhere(client, store, monkeypatch):
    import httpx2

    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("authorization"))
        got = client.request(request.method, request.url.path, headers=dict(request.headers), content=request.content)
        return httpx2.Response(got.status_code, headers=got.headers, content=got.content)

    transport = httpx2.MockTransport(answer)
    text = store.create("acme", ["read", "write"])[1]
    with telegrad.connect("http://telegrad.test", api_key=text, transport=transport) as session:
        assert float(session.tensor(2.0) * 3) == 6.0
        assert text not in repr(session)
    assert set(seen) == {f"Bearer {text}"}

    monkeypatch.setenv("TELEGRAD_API_KEY", text)
    with telegrad.connect("http://telegrad.test", transport=transport):
        pass
    monkeypatch.setenv("TELEGRAD_API_KEY", text[:-1] + "_")
    with pytest.raises(UnauthenticatedError) as refused, telegrad.connect("http://telegrad.test", transport=transport):
        pass
    assert text[:-1] not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "error"), [("", ArgumentValueError), ("a b", ArgumentValueError), ("ä", ArgumentValueError), (7, ArgumentTypeError)]
)
def test_what_can_be_no_key_is_refused_without_showing_it(given, error):
    with pytest.raises(error) as refused:
        telegrad.connect("http://127.0.0.1:1", api_key=given)
    assert str(given) not in str(refused.value) or given == ""


def test_a_key_and_an_authorisation_of_ones_own_do_not_go_together():
    with pytest.raises(ArgumentValueError, match="already"):
        telegrad.connect("http://127.0.0.1:1", api_key="k", headers={"Authorization": "Bearer other"})


def test_an_unknown_session_of_the_same_tenant_is_plainly_unknown(client, store):
    answer = client.get("/v1/sessions/nobody", headers=key(store))
    assert answer.status_code == 404
    assert NotFoundError.code in answer.json()["type"]
