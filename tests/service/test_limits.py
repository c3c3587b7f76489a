"""Each limit is refused before anything is allocated, with both numbers, and the session is as it was."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from telegrad.contract.limits import Limits
from telegrad_service.api.app import create_app
from telegrad_service.settings import Settings
from tests.service.test_bad_input import header_of, npy_header
from tests.service.test_errors import assert_problem

BYTES, NPY, SAFETENSORS = "application/octet-stream", "application/x-npy", "application/vnd.safetensors"

LIMITS = Limits(
    max_body_bytes=2**20,
    max_json_depth=16,
    max_json_values=20_000,
    max_json_elements=1000,
    max_commands=50,
    max_tensor_bytes=2**19,
    max_tensors=12,
    max_session_bytes=2**21,
    max_nodes=10,
    max_answer_bytes=2**19,
    max_command_flops=10**12,
    max_picture_nodes=5,
    max_programs=1,
    max_sessions=3,
)
SETUP = [
    {"command": "create", "id": "x", "data": 1.0, "requires_grad": True},
    {"command": "apply", "op": "full", "parameters": {"size": [64, 64], "fill_value": 1.0}, "outputs": ["m"]},
    {"command": "apply", "op": "full", "parameters": {"size": [1000], "fill_value": 1.0}, "outputs": ["v"]},
]
SLACK_BYTES = 4 * 2**20
"""What refusing may take beside the body itself: parser, buffers, the problem."""


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(limits=LIMITS)), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def at(client: TestClient) -> str:
    address = client.post("/v1/sessions").headers["location"]
    assert client.post(f"{address}/batch", json={"commands": SETUP}).status_code == 200
    return address


def many(count: int) -> list[dict[str, Any]]:
    return [{"command": "apply", "op": "add", "inputs": ["x", 1], "outputs": [f"y{i}"]} for i in range(count)]


LARGE = 400 * 10**9
CASES: dict[str, tuple[str, str, dict[str, Any], int]] = {
    # name: (setting, path, the request, predicted number; 0 where it is only known to be over)
    "a body too large": ("max_body_bytes", "tensors", {"content": b"x" * (2**20 + 1), "type": "application/json"}, 2**20 + 1),
    "a safetensors body that will be too large": (
        "max_body_bytes",
        "batch",
        {"content": header_of('{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}}'), "type": SAFETENSORS},
        0,
    ),
    "an .npy body that will be too large": (
        "max_body_bytes",
        "tensors",
        {"content": npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000,), }"), "type": NPY},
        0,
    ),
    "raw bytes over the limit of a tensor": (
        "max_tensor_bytes",
        "tensors",
        {"content": b"", "type": BYTES, "params": {"dtype": "float32", "shape": "100000000000"}},
        LARGE,
    ),
    "base64 over the limit of a tensor": (
        "max_tensor_bytes",
        "tensors",
        {"json": {"id": "a", "base64": "A" * 900_000, "dtype": "uint8", "shape": [675_000]}},
        675_000,
    ),
    "too many values": ("max_json_values", "batch", {"json": {"commands": [0] * 20_001}}, 0),
    "too many numbers in lists": ("max_json_elements", "tensors", {"json": {"id": "a", "data": [0] * 1001}}, 1001),
    "too many commands": ("max_commands", "batch", {"json": {"commands": many(51)}}, 51),
    "a result over the limit of a tensor": (
        "max_tensor_bytes",
        "ops",
        {"json": {"op": "zeros", "parameters": {"size": [100, 10**9]}}},
        LARGE,
    ),
    "an outer product": ("max_tensor_bytes", "ops", {"json": {"op": "outer", "inputs": ["v", "v"]}}, 4_000_000),
    "a sum over broadcast": (
        "max_tensor_bytes",
        "ops",
        {"json": {"op": "einsum", "inputs": ["v", "v"], "parameters": {"equation": "i,j->ij"}}},
        4_000_000,
    ),
    "a picture too large": ("max_picture_nodes", "graph", {"method": "GET", "params": {"root": "x", "max_nodes": 6}}, 6),
}


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_refused_before_allocation_and_changes_nothing(client, at, name):
    setting, path, request, predicted = CASES[name]
    request = dict(request)
    headers = {"content-type": request.pop("type")} if "type" in request else {}
    method = request.pop("method", "POST")
    before = client.get(at).json()
    client.request(method, f"{at}/{path}", headers=headers, **request)  # what is loaded once is loaded now

    tracemalloc.start()
    answer = client.request(method, f"{at}/{path}", headers=headers, **request)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    problem = assert_problem(answer, status=413 if setting == "max_body_bytes" else 422)
    permitted = getattr(LIMITS, setting)
    assert (problem["limit"], problem["permitted"]) == (setting, permitted)
    assert problem["predicted"] > permitted
    assert f"{problem['predicted']:,}" in problem["detail"]
    assert f"{permitted:,}" in problem["detail"]
    assert setting in problem["detail"]
    if predicted:
        assert problem["predicted"] == predicted
    assert peak < SLACK_BYTES, f"{peak:,} bytes"
    assert client.get(at).json() == before


def test_a_body_in_chunks_is_cut_off_where_it_becomes_too_large():
    pieces_taken = 0
    sent: list[Any] = []

    async def receive() -> Any:
        nonlocal pieces_taken
        pieces_taken += 1
        return {"type": "http.request", "body": bytes(2**16), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/sessions",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
    }

    asyncio.run(create_app(Settings(limits=LIMITS))(scope, receive, send))

    assert sent[0]["status"] == 413
    assert pieces_taken == 2**20 // 2**16 + 1


def test_a_declared_length_is_refused_before_a_byte_is_read(client, at):
    answer = client.post(
        f"{at}/tensors", content=b"{}", headers={"content-type": "application/json", "content-length": str(10**12)}
    )

    problem = assert_problem(answer, status=413, code="payload-too-large")
    assert problem["predicted"] == 10**12


def test_a_body_of_exactly_the_limit_passes(client, at):
    body = b'{"id":"a","data":1' + b" " * (2**20 - 19) + b"}"
    assert len(body) == 2**20

    answer = client.post(f"{at}/tensors", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 201


def test_names_nodes_and_bytes_of_a_session_are_bounded(client, at):
    cases = {
        "max_tensors": [{"command": "create", "id": f"n{i}", "data": 1.0} for i in range(12)],
        "max_nodes": [{"command": "apply", "op": "add", "inputs": ["x", 1], "outputs": ["h"]}]
        + [{"command": "apply", "op": "add_", "inputs": ["h", 1]} for _ in range(12)],
        "max_session_bytes": [
            {"command": "apply", "op": "zeros", "parameters": {"size": [131_072]}, "outputs": [f"z{i}"]} for i in range(5)
        ],
    }
    for setting, commands in cases.items():
        answer = client.post(f"{at}/batch", json={"commands": commands})

        problem = assert_problem(answer, status=422, code="limit")
        assert problem["limit"] == setting
        assert problem["predicted"] > problem["permitted"] == getattr(LIMITS, setting)
        assert problem["applied"] == 0  # refused whole
        assert 0 < problem["failed"] < len(commands)
        assert client.get(at).json()["tensors"] == len(SETUP)


def test_names_that_the_server_chooses_count_too(client, at):
    answer = client.post(f"{at}/batch", json={"commands": [{"command": "apply", "op": "add", "inputs": ["x", 1]}] * 12})

    assert assert_problem(answer, status=422)["limit"] == "max_tensors"


def test_an_answer_is_bounded_as_a_whole(client, at):
    reads = [{"command": "read", "tensor": "m", "encoding": "buffer"}] * 40

    answer = client.post(f"{at}/batch", json={"commands": reads}, headers={"accept": SAFETENSORS})

    problem = assert_problem(answer, status=422, code="limit")
    assert problem["limit"] == "max_answer_bytes"
    assert (problem["applied"], problem["failed"]) == (0, 2**19 // (64 * 64 * 4))


def test_too_much_arithmetic_is_refused(client, at):
    commands = [
        {"command": "apply", "op": "expand", "inputs": ["v"], "parameters": {"size": [10**10, 1000]}, "outputs": ["tall"]},
        {"command": "apply", "op": "matmul", "inputs": ["tall", "v"], "outputs": ["out"]},
    ]

    problem = assert_problem(client.post(f"{at}/batch", json={"commands": commands}), status=422, code="limit")

    assert (problem["limit"], problem["failed"]) == ("max_command_flops", 1)
    assert problem["predicted"] >= 10**13


OF_VALUES = {
    "the largest value of bincount": ("bincount", [[100_000]], {}),
    "the least length of bincount": ("bincount", [[1]], {"minlength": 100_000}),
    "the largest class": ("one_hot", [[100_000]], {}),
    "repeats": ("repeat_interleave.Tensor", [[60_000, 40_000]], {}),
    "repeats of rows": ("repeat_interleave", [[[1.0] * 500], [300]], {"dim": 0}),
    "a mask of an expanded tensor": ("masked_select", [[[1.0] for _ in range(400)], [[True] * 400]], {}),
    "a mask beside positions": (
        *("index", [[[1.0]] * 400, [True] * 400, [[0]] * 400]),
        {"index": [{"tensor": 1}, {"tensor": 2}]},
    ),
    "rows that are filled up": ("nonzero_static", [[1.0]], {"size": 100_000}),
}


@pytest.mark.parametrize("name", OF_VALUES)
def test_what_only_values_tell_is_refused_before_allocation_too(client, at, name):
    op, values, parameters = OF_VALUES[name]
    names = [f"i{n}" for n in range(len(values))]
    given = [{"command": "create", "id": n, "data": v} for n, v in zip(names, values, strict=True)]
    assert client.post(f"{at}/batch", json={"commands": given}).status_code == 200
    before = client.get(at).json()

    tracemalloc.start()
    answer = client.post(f"{at}/ops", json={"op": op, "inputs": names, "parameters": parameters, "outputs": ["out"]})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    problem = assert_problem(answer, status=422, code="limit")
    assert problem["limit"] == "max_tensor_bytes"
    assert problem["predicted"] > LIMITS.max_tensor_bytes
    assert peak < SLACK_BYTES, f"{peak:,} bytes"
    assert client.get(at).json() == before


def test_what_values_keep_small_is_done(client, at):
    commands = [
        {"command": "create", "id": "column", "data": [[1.0] for _ in range(400)]},
        {"command": "create", "id": "mask", "data": [False] * 399 + [True]},
        {"command": "apply", "op": "masked_select", "inputs": ["column", "mask"], "outputs": ["out"]},  # one of 400 x 400
        {"command": "create", "id": "counts", "data": [3, 0]},
        {"command": "apply", "op": "repeat_interleave", "inputs": ["counts", "counts"], "outputs": ["repeated"]},
    ]

    assert client.post(f"{at}/batch", json={"commands": commands}).status_code == 200

    assert client.get(f"{at}/tensors/out").json()["shape"] == [400]
    assert client.get(f"{at}/tensors/repeated").json()["data"] == [3, 3, 3]


def test_many_vectors_are_counted_before_they_are_walked(client, at):
    commands = [
        {"command": "create", "id": "w", "data": [1.0] * 100, "requires_grad": True},
        {"command": "apply", "op": "sum", "inputs": ["w"], "outputs": ["total"]},
        {"command": "apply", "op": "expand", "inputs": ["x"], "parameters": {"size": [10**9]}, "outputs": ["vectors"]},
        {"command": "grad", "outputs": ["total"], "inputs": ["w"], "grad_outputs": ["vectors"], "is_grads_batched": True},
    ]

    problem = assert_problem(client.post(f"{at}/batch", json={"commands": commands}), status=422, code="limit")

    assert (problem["limit"], problem["failed"], problem["predicted"]) == ("max_tensor_bytes", 3, 4 * 100 * 10**9)


def test_sessions_are_counted(client):
    made = [client.post("/v1/sessions") for _ in range(3)]
    assert [m.status_code for m in made] == [201] * 3

    problem = assert_problem(client.post("/v1/sessions"), status=422, code="limit")
    assert (problem["predicted"], problem["permitted"], problem["limit"]) == (4, 3, "max_sessions")

    client.delete(made[0].headers["location"])
    assert client.post("/v1/sessions").status_code == 201


def test_a_session_that_failed_to_open_takes_no_place(client):
    for _ in range(5):
        assert client.post("/v1/sessions", json={"seed": "x"}).status_code == 422

    assert client.get("/v1/sessions").json()["sessions"] == []
