"""Quotas of tenants: all their sessions together hold and do no more than they may, in both hosts, across restarts."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from telegrad.contract.errors import ArgumentValueError, QuotaError
from telegrad.contract.limits import Limits, Quotas
from telegrad_service.__main__ import main
from telegrad_service.access import keys as keys_module
from telegrad_service.access.keys import KeyStore
from telegrad_service.api.app import create_app, keeping_of
from telegrad_service.hosts.base import Work
from telegrad_service.hosts.inline import InlineHost
from telegrad_service.hosts.process import ProcessHost
from telegrad_service.settings import Settings
from tests.service.test_errors import assert_problem

MEBI = 2**20
LIMITS = Limits(max_session_bytes=64 * MEBI, max_tensor_bytes=64 * MEBI)
Opener = Callable[..., TestClient]


@pytest.fixture(params=["inline", "process"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[TestClient] = []

    def open_with(*, keys: KeyStore | None = None, durable: bool = False, **quotas: int) -> TestClient:
        settings = Settings(
            limits=LIMITS,
            quotas=Quotas(**quotas),
            keys_file=str(tmp_path / "keys") if keys else "",
            data_dir=str(tmp_path / "data") if durable else "",
        )
        host = None
        if request.param == "process":
            host = ProcessHost(LIMITS, max_waiting_requests=100, request_seconds=60, keeping=keeping_of(settings))
        client = TestClient(create_app(settings, host), raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    def close(client: TestClient) -> None:
        opened.remove(client)
        client.__exit__(None, None, None)

    open_with.close = close
    yield open_with
    for client in opened:
        client.__exit__(None, None, None)


def session(client: TestClient, **more: Any) -> str:
    answer = client.post("/v1/sessions", **more)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def zeros(client: TestClient, at: str, name: str, mebibytes: float, **more: Any) -> Any:
    size = [int(mebibytes * MEBI / 4)]
    return client.post(f"{at}/ops", json={"op": "zeros", "parameters": {"size": size}, "outputs": [name]}, **more)


def assert_refused(answer: Any, setting: str, *, code: str = "quota") -> dict[str, Any]:
    problem = assert_problem(answer, status=429, code=code)
    assert problem["limit"] == setting
    assert setting in problem["detail"]
    assert problem["used"] + problem["requested"] == problem["predicted"] > problem["permitted"]
    for number in (problem["used"], problem["requested"], problem["permitted"]):
        assert f"{number:,}" in problem["detail"]
    assert int(answer.headers["retry-after"]) == problem["retry_after_seconds"] > 0
    assert re.match(rf'"{setting}";q={problem["permitted"]}(;w=\d+)?$', answer.headers["ratelimit-policy"])
    assert re.match(rf'"{setting}";r=\d+(;t=\d+)?$', answer.headers["ratelimit"])
    return problem


# What is held ---------------------------------------------------------------------------------------------------------------


def test_bytes_are_those_of_all_sessions_together_and_come_back(serve):
    client = serve(tenant_bytes=32 * MEBI)
    first, second = session(client), session(client)
    assert zeros(client, first, "a", 20).status_code == 200

    problem = assert_refused(zeros(client, second, "b", 16), "tenant_bytes")
    assert (problem["used"], problem["requested"], problem["permitted"]) == (20 * MEBI, 16 * MEBI, 32 * MEBI)
    assert client.get(second).json()["tensors"] == 0
    assert zeros(client, second, "b", 12).status_code == 200  # to the byte
    assert_refused(zeros(client, first, "c", 0.001), "tenant_bytes")

    assert client.delete(f"{first}/tensors/a").status_code == 204
    assert zeros(client, second, "c", 20).status_code == 200
    assert client.delete(second).status_code == 204
    assert zeros(client, first, "d", 32).status_code == 200


def test_names_are_those_of_all_sessions_together(serve):
    client = serve(tenant_tensors=10)
    first, second = session(client), session(client)
    commands = [{"command": "create", "id": f"x{i}", "data": 1.0} for i in range(7)]
    assert client.post(f"{first}/batch", json={"commands": commands}).status_code == 200

    problem = assert_refused(client.post(f"{second}/batch", json={"commands": commands}), "tenant_tensors")
    assert problem["permitted"] == 10
    client.post(f"{first}/batch", json={"commands": [{"command": "release", "tensors": ["x0", "x1", "x2", "x3"]}]})
    client.delete(second)
    third = session(client)
    assert client.post(f"{third}/batch", json={"commands": commands}).status_code == 200


def test_sessions_are_counted_and_deleting_one_makes_room(serve):
    client = serve(tenant_sessions=2)
    first = session(client)
    session(client)

    problem = assert_refused(client.post("/v1/sessions"), "tenant_sessions")
    assert (problem["used"], problem["requested"], problem["permitted"]) == (2, 1, 2)
    client.delete(first)
    session(client)


def test_many_at_once_never_hold_more_than_they_may(serve):
    client = serve(tenant_bytes=32 * MEBI)
    at = [session(client) for _ in range(8)]
    answers: list[Any] = []

    def fill(address: str) -> None:
        answers.extend(zeros(client, address, f"x{i}", 3) for i in range(4))

    threads = [threading.Thread(target=fill, args=(address,)) for address in at]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    held = sum(client.get(address).json()["bytes"] for address in at)
    assert {a.status_code for a in answers} == {200, 429}
    assert held == 3 * MEBI * sum(a.status_code == 200 for a in answers)
    assert held <= 32 * MEBI


def test_gradients_and_graphs_count(serve):
    client = serve(tenant_bytes=24 * MEBI)
    at = session(client)
    commands = [
        {"command": "apply", "op": "ones", "parameters": {"size": [2 * MEBI]}, "outputs": ["x"]},
        {"command": "set", "tensor": "x", "requires_grad": True},
        {"command": "apply", "op": "exp", "inputs": ["x"], "outputs": ["e"]},
        {"command": "apply", "op": "sum", "inputs": ["e"], "outputs": ["s"]},
        {"command": "release", "tensors": ["e"]},  # the graph keeps it
    ]
    assert client.post(f"{at}/batch", json={"commands": commands}).status_code == 200

    assert_refused(zeros(client, at, "z", 12), "tenant_bytes")
    assert zeros(client, at, "z", 7).status_code == 200


def test_tenants_do_not_share_and_keys_may_say_otherwise(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(keys_module, "FRESH_SECONDS", 0.0)
    keys = KeyStore(tmp_path / "keys", create=True)
    keys.set_quotas("large", {"tenant_bytes": 48 * MEBI})
    client = serve(keys=keys, tenant_bytes=16 * MEBI)
    heads = {t: {"authorization": f"Bearer {keys.create(t, ['read', 'write'])[1]}"} for t in ("small", "other", "large")}
    at = {t: session(client, headers=head) for t, head in heads.items()}

    assert zeros(client, at["small"], "x", 16, headers=heads["small"]).status_code == 200
    assert zeros(client, at["other"], "x", 16, headers=heads["other"]).status_code == 200
    assert_refused(zeros(client, at["small"], "y", 1, headers=heads["small"]), "tenant_bytes")
    assert zeros(client, at["large"], "x", 48, headers=heads["large"]).status_code == 200

    keys.set_quotas("small", {"tenant_bytes": 20 * MEBI})
    assert zeros(client, at["small"], "y", 4, headers=heads["small"]).status_code == 200
    keys.close()


def test_what_was_held_before_there_was_a_quota_counts(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(keys_module, "FRESH_SECONDS", 0.0)
    keys = KeyStore(tmp_path / "keys", create=True)
    client = serve(keys=keys)
    head = {"authorization": f"Bearer {keys.create('acme', ['read', 'write'])[1]}"}
    first, second = session(client, headers=head), session(client, headers=head)
    assert zeros(client, first, "x", 20, headers=head).status_code == 200

    keys.set_quotas("acme", {"tenant_bytes": 24 * MEBI})
    problem = assert_refused(zeros(client, second, "y", 8, headers=head), "tenant_bytes")
    assert problem["used"] == 20 * MEBI
    assert zeros(client, second, "y", 4, headers=head).status_code == 200
    keys.close()


def test_what_is_held_counts_after_a_restart(serve):
    client = serve(durable=True, tenant_bytes=32 * MEBI, tenant_sessions=2, tenant_tensors=50)
    first, second = session(client), session(client)
    assert zeros(client, first, "a", 20).status_code == 200
    serve.close(client)

    client = serve(durable=True, tenant_bytes=32 * MEBI, tenant_sessions=2, tenant_tensors=50)
    assert_refused(client.post("/v1/sessions"), "tenant_sessions")
    problem = assert_refused(zeros(client, second, "b", 16), "tenant_bytes")
    assert problem["used"] == 20 * MEBI
    assert zeros(client, second, "b", 12).status_code == 200


def test_what_was_refused_is_not_done_when_the_session_comes_back(serve):
    client = serve(durable=True, tenant_bytes=32 * MEBI)
    at = session(client)
    assert zeros(client, at, "a", 20).status_code == 200
    key = {"idempotency-key": '"again"'}
    assert_refused(zeros(client, at, "b", 16, headers=key), "tenant_bytes")
    serve.close(client)

    client = serve(durable=True)
    assert [t["id"] for t in client.get(f"{at}/tensors").json()["tensors"]] == ["a"]
    again = zeros(client, at, "b", 16, headers=key)  # refused is not done: the same key may be used again
    assert again.status_code == 200
    assert "idempotency-replayed" not in again.headers


# What is done in a stretch of time ---------------------------------------------------------------------------------------------


def test_requests_a_second_are_bounded_and_the_answers_say_what_is_left(serve):
    client = serve(tenant_requests_per_second=3, rate_window_seconds=2)
    begun = time.monotonic()
    good: list[Any] = []
    while (answer := client.get("/v1/sessions")).status_code == 200:
        good.append(answer)
        assert len(good) < 200
    seconds = time.monotonic() - begun

    assert 5 <= len(good) <= 7 + 3 * seconds  # six, give or take where the window begins, and three a second on a slow machine
    assert good[0].headers["ratelimit-policy"] == '"tenant_requests_per_second";q=6;w=2'
    left = [int(re.search(r";r=(\d+)", a.headers["ratelimit"])[1]) for a in good]
    assert left[:3] == sorted(left[:3], reverse=True)
    problem = assert_refused(answer, "tenant_requests_per_second", code="rate-limit")
    assert problem["window_seconds"] == 2

    time.sleep(problem["retry_after_seconds"] + 0.1)
    assert client.get("/v1/sessions").status_code == 200
    assert all(client.get("/healthz").status_code == 200 for _ in range(20))  # nobody's


@pytest.mark.parametrize("chunked", [False, True])
def test_bytes_of_bodies_are_bounded_as_they_arrive(serve, chunked):
    client = serve(tenant_body_bytes_per_second=100, rate_window_seconds=100)
    at = session(client)
    body = b'{"id": "x", "data": 1' + b" " * 6000 + b"}"

    def pieces() -> Iterator[bytes]:
        yield from (body[i : i + 1000] for i in range(0, len(body), 1000))

    head = {"content-type": "application/json"}
    first = client.post(f"{at}/tensors", content=pieces() if chunked else body, headers=head)
    second = client.post(f"{at}/tensors", content=pieces() if chunked else body, headers=head)
    large = client.post(f"{at}/tensors", content=b" " * 10_001, headers=head)

    assert first.status_code == 201
    assert_refused(second, "tenant_body_bytes_per_second", code="rate-limit")
    assert assert_problem(large, status=422, code="limit")["limit"] == "tenant_body_bytes_per_second"  # it never fits


def test_sessions_a_second_are_bounded(serve):
    client = serve(tenant_sessions_per_second=1, rate_window_seconds=2)
    begun = time.monotonic()
    codes: list[int] = []
    while len(codes) < 6 or codes[-1] == 201:
        codes.append(client.post("/v1/sessions").status_code)
        assert len(codes) < 100
    seconds = time.monotonic() - begun

    assert 2 <= codes.count(201) <= 3 + seconds  # two, give or take where the window begins, and one a second on a slow machine
    assert set(codes) == {201, 429}


@pytest.mark.parametrize("as_batch", [False, True])
def test_predicted_arithmetic_is_bounded_before_it_is_done(serve, as_batch):
    client = serve(tenant_flops_per_second=10**5, rate_window_seconds=100)
    at = session(client)
    client.post(f"{at}/ops", json={"op": "ones", "parameters": {"size": [100, 100]}, "outputs": ["m"]})
    product = {"op": "matmul", "inputs": ["m", "m"], "outputs": ["p"]}  # 2 million operations

    def multiply() -> Any:
        if as_batch:
            commands = [{"command": "apply", **product}, {"command": "release", "tensors": ["p"]}]
            return client.post(f"{at}/batch", json={"commands": commands})
        answer = client.post(f"{at}/ops", json=product)
        client.delete(f"{at}/tensors/p")
        return answer

    answers = [multiply() for _ in range(7)]
    assert [a.status_code for a in answers[:4]] == [200] * 4
    problem = assert_refused(answers[-1], "tenant_flops_per_second", code="rate-limit")
    assert problem["permitted"] == 10**7
    assert client.get(at).json()["tensors"] == 1
    many = [{"command": "apply", **product, "outputs": [f"q{i}"]} for i in range(6)]  # more than ever fits
    large = client.post(f"{at}/batch", json={"commands": many})
    assert assert_problem(large, status=422, code="limit")["limit"] == "tenant_flops_per_second"
    assert client.get(at).json()["tensors"] == 1


def test_a_backward_over_a_graph_of_earlier_requests_counts_by_op(serve):
    client = serve(tenant_flops_per_second=10**5, rate_window_seconds=100)
    at = session(client)
    client.post(f"{at}/ops", json={"op": "ones", "parameters": {"size": [100, 100]}, "outputs": ["m"]})
    client.patch(f"{at}/tensors/m", json={"requires_grad": True})
    client.post(f"{at}/ops", json={"op": "matmul", "inputs": ["m", "m"], "outputs": ["p"]})  # 2 million operations
    client.post(f"{at}/ops", json={"op": "sum", "inputs": ["p"], "outputs": ["y"]})

    walks = [client.post(f"{at}/backward", json={"tensors": ["y"], "retain_graph": True}) for _ in range(3)]

    assert walks[0].status_code == 200  # 4 million
    assert_refused(walks[-1], "tenant_flops_per_second", code="rate-limit")
    assert client.get(f"{at}/tensors/m/grad", params={"index": "0,0"}).json()["data"] == 200.0 * (
        [w.status_code for w in walks].count(200)
    )


def test_runs_of_a_program_count_each(serve):
    client = serve(tenant_flops_per_second=10**5, rate_window_seconds=100)
    at = session(client)
    client.post(f"{at}/ops", json={"op": "ones", "parameters": {"size": [100, 100]}, "outputs": ["m"]})
    commands = [{"command": "apply", "op": "matmul", "inputs": ["m", "m"], "outputs": ["p"]}]
    program = client.post(f"{at}/programs", json={"commands": commands, "inputs": ["m"]}).json()["id"]
    run = f"{at}/programs/{program}/run"

    assert client.post(run, json={"inputs": {"m": "m"}, "times": 4}).status_code == 200
    assert_refused(client.post(run, json={"inputs": {"m": "m"}, "times": 4}), "tenant_flops_per_second", code="rate-limit")


def test_tensors_a_second_are_bounded(serve):
    client = serve(tenant_tensors_per_second=1, rate_window_seconds=10)
    at = session(client)
    commands = [{"command": "create", "id": f"x{i}", "data": 1.0} for i in range(8)]
    assert client.post(f"{at}/batch", json={"commands": commands}).status_code == 200

    again = [{"command": "release", "tensors": [c["id"] for c in commands]}, *commands]
    assert_refused(client.post(f"{at}/batch", json={"commands": again}), "tenant_tensors_per_second", code="rate-limit")
    assert client.get(at).json()["tensors"] == 8


def test_a_batch_beyond_the_quota_is_refused_whole(serve):
    client = serve(tenant_bytes=32 * MEBI)
    first, second = session(client), session(client)
    assert zeros(client, first, "a", 10).status_code == 200
    commands = [
        {"command": "apply", "op": "zeros", "parameters": {"size": [2 * MEBI]}, "outputs": [f"z{i}"]} for i in range(3)
    ]  # 24 MiB

    problem = assert_refused(client.post(f"{second}/batch", json={"commands": commands}), "tenant_bytes")
    assert (problem["used"], problem["requested"]) == (10 * MEBI, 24 * MEBI)
    assert (problem["applied"], problem["failed"]) == (0, 2)  # the first that would not fit
    assert client.get(second).json()["tensors"] == 0
    assert client.post(f"{second}/batch", json={"commands": commands[:2]}).status_code == 200


def test_one_tenant_cannot_fill_the_queue_that_all_share():
    async def scenario() -> None:
        host = InlineHost(Limits(), compute_threads=2, max_waiting_requests=8)
        await host.start()
        greedy, modest = [(await host.open(Work("open"), tenant)).created for tenant in ("greedy", "modest")]
        free = threading.Event()
        held = host._pool.submit(free.wait, 30), host._pool.submit(free.wait, 30)
        waiting = [asyncio.ensure_future(host.do(greedy, Work("summary")))]
        await asyncio.sleep(0.05)  # it has its turn, and no thread
        waiting += [asyncio.ensure_future(host.do(greedy, Work("summary"))) for _ in range(4)]
        await asyncio.sleep(0.05)

        with pytest.raises(QuotaError, match="tenant_waiting_requests") as refused:
            await host.do(greedy, Work("summary"))
        assert (refused.value.extra["used"], refused.value.extra["permitted"]) == (4, 4)
        other = asyncio.ensure_future(host.do(modest, Work("summary")))
        await asyncio.sleep(0.05)
        assert not other.done()
        free.set()
        assert {answer.status for answer in await asyncio.gather(*waiting, other)} == {200}
        assert (await host.do(greedy, Work("summary"))).status == 200
        assert all(h.result() for h in held)
        assert host.census().waiting == 0
        await host.stop(1)

    asyncio.run(scenario())


# Settings ---------------------------------------------------------------------------------------------------------------------


def test_the_command_line_shows_and_changes_quotas(tmp_path, capsys):
    file = str(tmp_path / "keys")
    assert main(["keys", "create", "--keys-file", file, "--tenant", "acme"]) == 0
    assert main(["keys", "quota", "--keys-file", file, "--tenant", "acme", "tenant_bytes=1000", "tenant_sessions=0"]) == 0
    told = capsys.readouterr().out
    assert "tenant_bytes 1000" in told
    assert "tenant_tensors as the server says" in told
    assert main(["keys", "quota", "--keys-file", file, "--tenant", "acme", "tenant_bytes="]) == 0
    assert "tenant_bytes as the server says" in capsys.readouterr().out
    store = KeyStore(Path(file))
    assert store.quotas("acme") == {"tenant_sessions": 0}
    store.close()
    for wrong in ("tenant_bytes", "tenant_bytes=-1", "bytes=1", "tenant_bytes=1e9", "rate_window_seconds=0"):
        assert main(["keys", "quota", "--keys-file", file, "--tenant", "acme", wrong]) == 1


@pytest.mark.parametrize("changes", [{"nothing": 1}, {"tenant_bytes": -1}, {"rate_window_seconds": 0}])
def test_quotas_that_are_none_are_refused(tmp_path, changes):
    store = KeyStore(tmp_path / "keys", create=True)
    with pytest.raises(ArgumentValueError):
        store.set_quotas("acme", changes)
    store.close()
