"""What each route does when all is well."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from safetensors import numpy as library

from telegrad.contract import safetensors

BYTES, NPY, SAFETENSORS = "application/octet-stream", "application/x-npy", "application/vnd.safetensors"
MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def npy_of(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version, allow_pickle=False)
    return out.getvalue()


def put(client, at, body, media_type, **query):
    return client.post(f"{at}/tensors", params=query, content=body, headers={"content-type": media_type})


def read(client, at, name, media_type):
    answer = client.get(f"{at}/tensors/{name}", headers={"accept": media_type})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media_type
    return answer.content


# Sessions


def test_a_session_opens_without_a_body(client):
    answer = client.post("/v1/sessions")

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/sessions/{answer.json()['id']}"
    assert answer.json()["tensors"] == 0
    assert answer.json()["limits"]["max_body_bytes"] == 256 * 2**20


def test_session_ids_have_enough_random_bits(client):
    ids = [client.post("/v1/sessions").json()["id"] for _ in range(20)]

    assert len(set(ids)) == 20
    assert all(len(base64.urlsafe_b64decode(i + "==")) * 8 >= 120 for i in ids)


def test_a_seeded_session_draws_the_same_again(client):
    drawn = []
    for _ in range(2):
        at = client.post("/v1/sessions", json={"seed": 7}).headers["location"]
        client.post(f"{at}/ops", json={"op": "rand", "parameters": {"size": [4]}, "outputs": ["r"]})
        drawn.append(client.get(f"{at}/tensors/r").json()["data"])

    assert drawn[0] == drawn[1]


def test_a_session_tells_what_it_holds(client, example):
    told = client.get(example).json()

    assert (told["tensors"], told["nodes"]) == (5, 3)
    assert told["bytes"] > 0


def test_sessions_are_listed_in_pages(client):
    made = [client.post("/v1/sessions").json()["id"] for _ in range(5)]
    found, after = [], None
    while True:
        page = client.get("/v1/sessions", params={"limit": 2} | ({"after": after} if after else {})).json()
        assert len(page["sessions"]) <= 2
        found += [s["id"] for s in page["sessions"]]
        after = page["next"]
        if after is None:
            break

    assert [i for i in found if i in made] == made
    assert len(set(found)) == len(found)


def test_a_deleted_session_is_gone(client):
    at = client.post("/v1/sessions").headers["location"]

    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    assert client.delete(at).status_code == 404


# Tensors


def test_a_tensor_comes_from_json_and_has_an_address(client, at):
    answer = client.post(f"{at}/tensors", json={"id": "x", "data": [[1, 2], [3, 4]], "dtype": "float64", "requires_grad": True})

    assert answer.status_code == 201
    assert answer.headers["location"] == f"{at}/tensors/x"
    assert answer.json() == client.get(f"{at}/tensors/x", params={"data": "false"}).json()
    assert (answer.json()["shape"], answer.json()["dtype"], answer.json()["requires_grad"]) == ([2, 2], "float64", True)


def test_the_server_names_what_has_no_name(client, at):
    first = client.post(f"{at}/tensors", json={"data": 1.0}).json()["id"]
    second = client.post(f"{at}/tensors", json={"id": None, "data": 1.0}).json()["id"]

    assert first != second
    assert client.get(f"{at}/tensors/{first}").json()["data"] == 1.0


@pytest.mark.parametrize("media_type", [BYTES, NPY, SAFETENSORS])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64", "complex64", "complex128"])
def test_an_array_goes_up_and_down_in_every_form(client, at, media_type, dtype):
    array = (MATRIX % 2 if dtype == "bool" else MATRIX + 0.5).astype(dtype)
    if media_type == BYTES:
        made = put(client, at, array.tobytes(), BYTES, id="x", dtype=dtype, shape="2,3")
    elif media_type == NPY:
        made = put(client, at, npy_of(array), NPY, id="x")
    else:
        made = put(client, at, b"".join(safetensors.pack({"x": array})), SAFETENSORS)
    assert made.status_code == 201, made.text

    raw = read(client, at, "x", BYTES)
    numpys = np.load(io.BytesIO(read(client, at, "x", NPY)), allow_pickle=False)
    arrays, _ = safetensors.unpack(read(client, at, "x", SAFETENSORS))

    assert raw == array.tobytes()
    assert numpys.dtype == array.dtype
    np.testing.assert_array_equal(numpys, array)
    np.testing.assert_array_equal(arrays["x"], array)


def test_every_array_of_a_safetensors_file_becomes_a_tensor(client, at):
    body = library.save({"weight": MATRIX, "bias": np.zeros(3, np.float64)}, metadata={"format": "pt"})

    answer = put(client, at, body, SAFETENSORS, requires_grad="true")

    assert answer.status_code == 201
    assert {t["id"]: t["requires_grad"] for t in answer.json()["tensors"]} == {"weight": True, "bias": True}


def test_a_safetensors_file_comes_in_whole_or_not_at_all(client, at):
    client.post(f"{at}/tensors", json={"id": "taken", "data": 1.0})
    body = library.save({"a": MATRIX, "taken": MATRIX, "z": MATRIX})

    answer = put(client, at, body, SAFETENSORS)

    assert answer.status_code == 409
    assert [t["id"] for t in client.get(f"{at}/tensors").json()["tensors"]] == ["taken"]


def test_safetensors_libraries_read_our_answers(client, at):
    put(client, at, npy_of(MATRIX), NPY, id="x")

    found = library.load(read(client, at, "x", SAFETENSORS))

    np.testing.assert_array_equal(found["x"], MATRIX)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_npy_of_every_version_order_and_endianness_is_read(client, at, version, order, endian):
    array = np.array(MATRIX.astype(f"{endian}f8"), order=order)

    made = put(client, at, npy_of(array, version), NPY, id="x")

    assert made.status_code == 201, made.text
    assert client.get(f"{at}/tensors/x").json()["data"] == MATRIX.tolist()


def test_base64_is_the_raw_bytes(client, at):
    client.post(
        f"{at}/tensors",
        json={"id": "x", "base64": base64.b64encode(MATRIX.tobytes()).decode(), "dtype": "float32", "shape": [2, 3]},
    )

    found = client.get(f"{at}/tensors/x", params={"encoding": "base64"}).json()

    assert base64.b64decode(found["base64"]) == MATRIX.tobytes()
    assert "data" not in found


def test_empty_and_single_tensors_travel_as_bytes(client, at):
    assert put(client, at, b"", BYTES, id="nothing", dtype="float32", shape="0,3").status_code == 201
    assert put(client, at, np.float64(2.5).tobytes(), BYTES, id="one", dtype="float64", shape="").status_code == 201

    assert client.get(f"{at}/tensors/nothing").json()["data"] == []
    assert client.get(f"{at}/tensors/one").json()["data"] == 2.5
    assert read(client, at, "nothing", BYTES) == b""


def test_what_json_has_no_number_for_is_spelled(client, at):
    client.post(f"{at}/tensors", json={"id": "x", "data": ["NaN", "Infinity", "-Infinity", -0.0]})

    answer = client.get(f"{at}/tensors/x")

    assert json.loads(answer.text, parse_constant=pytest.fail)["data"][:3] == ["NaN", "Infinity", "-Infinity"]


def test_tensors_are_listed_in_pages(client, at):
    names = [f"n{i}" for i in range(5)]
    for name in names:
        client.post(f"{at}/tensors", json={"id": name, "data": 1.0})

    first = client.get(f"{at}/tensors", params={"limit": 3}).json()
    second = client.get(f"{at}/tensors", params={"limit": 3, "after": first["next"]}).json()

    assert [t["id"] for t in first["tensors"] + second["tensors"]] == names
    assert second["next"] is None


def test_a_patch_changes_what_it_names(client, example):
    client.post(f"{example}/backward", json={"tensors": ["y"]})

    cleared = client.patch(f"{example}/tensors/x1", json={"grad": None})
    named = client.patch(f"{example}/tensors/x2.grad", json={"name": "kept"})

    assert cleared.json()["has_grad"] is False
    assert named.status_code == 200
    assert client.get(f"{example}/tensors/kept").json()["data"] == 5.0


def test_a_released_tensor_lives_on_in_the_graph(client, example):
    assert client.delete(f"{example}/tensors/square").status_code == 204
    assert client.get(f"{example}/tensors/square").status_code == 404

    client.post(f"{example}/backward", json={"tensors": ["y"]})

    assert client.get(f"{example}/tensors/x1/grad").json()["data"] == pytest.approx(0.7878)


# Ops and gradients


def test_the_worked_example_holds_to_the_digit(client, example):
    described = client.get(f"{example}/tensors/y").json()
    grads = client.post(
        f"{example}/grad", json={"outputs": ["y"], "inputs": ["x1", "x2"], "retain_graph": True, "results": ["g1", "g2"]}
    )
    values = [round(client.get(f"{example}/tensors/{name}").json()["data"], 4) for name in ("g1", "g2")]
    untouched = client.get(f"{example}/tensors/x1/grad").status_code
    backward = client.post(f"{example}/backward", json={"tensors": ["y"]})
    again = client.post(f"{example}/backward", json={"tensors": ["y"]})

    assert (round(described["data"], 4), described["grad_fn"]) == (4.1377, "AddBackward0")
    assert grads.json()["present"] == [True, True]
    assert values == [0.7878, 5.0]
    assert untouched == 404
    assert backward.json() == {"leaves": ["x1", "x2"]}
    assert round(client.get(f"{example}/tensors/x1/grad").json()["data"], 4) == 0.7878
    assert (again.status_code, again.json()["type"]) == (409, "urn:telegrad:problem:graph-freed")


def test_an_op_in_place_describes_the_tensor_it_changed(client, at):
    client.post(f"{at}/tensors", json={"id": "x", "data": [1.0, 2.0]})

    answer = client.post(f"{at}/ops", json={"op": "mul_", "inputs": ["x", 3]})

    assert [(t["id"], t["version"]) for t in answer.json()["outputs"]] == [("x", 1)]
    assert client.get(f"{at}/tensors/x").json()["data"] == [3.0, 6.0]


def test_an_op_with_several_results_names_those_that_are_wanted(client, at):
    client.post(f"{at}/tensors", json={"id": "x", "data": [1.0, 2.0, 3.0]})

    named = client.post(f"{at}/ops", json={"op": "unbind", "inputs": ["x"], "outputs": ["a", None, "c"]})
    unnamed = client.post(f"{at}/ops", json={"op": "unbind", "inputs": ["x"]})

    assert [t and t["id"] for t in named.json()["outputs"]] == ["a", None, "c"]
    assert len({t["id"] for t in unnamed.json()["outputs"]}) == 3


def test_grad_tells_which_inputs_are_unused(client, example):
    client.post(f"{example}/tensors", json={"id": "z", "data": 1.0, "requires_grad": True})

    answer = client.post(f"{example}/grad", json={"outputs": ["y"], "inputs": ["x1", "z"], "allow_unused": True})

    assert answer.json()["present"] == [True, False]
    assert answer.json()["results"][1] is None


def test_the_seed_can_be_set_again(client, at):
    drawn = []
    for name in ("a", "b"):
        assert client.post(f"{at}/seed", json={"seed": 3}).status_code == 204
        client.post(f"{at}/ops", json={"op": "randn", "parameters": {"size": [3]}, "outputs": [name]})
        drawn.append(client.get(f"{at}/tensors/{name}").json()["data"])

    assert drawn[0] == drawn[1]


# Batches


def test_a_batch_in_safetensors_carries_arrays_both_ways(client, at):
    commands = [
        {"command": "create", "id": "x", "buffer": "data", "requires_grad": True},
        {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
        {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
        {"command": "backward", "tensors": ["s"]},
        {"command": "read", "tensor": "x.grad", "encoding": "buffer"},
        {"command": "read", "tensor": "s"},
    ]
    body = b"".join(safetensors.pack({"data": MATRIX}, {"commands": commands}))

    answer = client.post(f"{at}/batch", content=body, headers={"content-type": SAFETENSORS, "accept": SAFETENSORS})

    arrays, message = safetensors.unpack(answer.content)
    assert answer.status_code == 200
    assert message["applied"] == 6
    gradient, total = message["results"][-2:]
    np.testing.assert_array_equal(arrays[gradient["buffer"]], 2 * MATRIX)
    assert (total["index"], total["data"]) == (5, 55.0)


def test_what_came_before_a_failing_command_stands(client, at):
    commands = [
        {"command": "create", "id": "x", "data": 1.0},
        {"command": "read", "tensor": "x"},
        {"command": "apply", "op": "matmul", "inputs": ["x", "x"], "outputs": ["y"]},
        {"command": "create", "id": "never", "data": 1.0},
    ]

    answer = client.post(f"{at}/batch", json={"commands": commands})

    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["applied"], problem["failed"]) == (answer.status_code, 2, 2)
    assert problem["results"][0]["data"] == 1.0
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert [t["id"] for t in client.get(f"{at}/tensors").json()["tensors"]] == ["x"]


def test_a_batch_with_a_malformed_command_does_nothing(client, at):
    commands = [{"command": "create", "id": "x", "data": 1.0}, {"command": "create", "id": "x", "dtaa": 1.0}]

    answer = client.post(f"{at}/batch", json={"commands": commands})

    assert (answer.status_code, answer.json()["applied"], answer.json()["failed"]) == (422, 0, 1)
    assert client.get(f"{at}/tensors").json()["tensors"] == []


def test_an_answer_shows_the_tensor_as_it_was_when_it_was_read(client, at):
    commands = [
        {"command": "create", "id": "x", "data": [1.0]},
        {"command": "read", "tensor": "x", "encoding": "buffer"},
        {"command": "apply", "op": "mul_", "inputs": ["x", 3]},
        {"command": "read", "tensor": "x", "encoding": "buffer"},
    ]

    answer = client.post(f"{at}/batch", json={"commands": commands}, headers={"accept": SAFETENSORS})

    arrays, message = safetensors.unpack(answer.content)
    assert [arrays[r["buffer"]].tolist() for r in message["results"] if "buffer" in r] == [[1.0], [3.0]]


# Catalogue and health


def test_the_catalogue_tells_all_of_an_op(client):
    row = client.get("/v1/ops/add").json()
    listed = {r["name"]: r for r in client.get("/v1/ops").json()["ops"]}

    assert listed["add"] == row
    assert row["inputs"][1] == {"name": "other", "number": True, "optional": False, "variadic": False}
    assert row["parameters"][0]["default"] == 1
    assert (row["in_place"], row["node"], row["differentiable"]) == ("add_", "AddBackward0", ["self", "other"])
    assert all(r["differentiable"] or r["nondifferentiable_reason"] for r in listed.values())
    assert not any(r["namespace"] == "internal" for r in listed.values())


@pytest.mark.parametrize("path", ["/v1/ops", "/v1/ops/sum", "/openapi.json"])
def test_what_has_not_changed_is_not_sent_again(client, path):
    first = client.get(path)

    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    other = client.get(path, headers={"if-none-match": '"something-else"'})

    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


def test_the_process_is_up_and_takes_work(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


# Every answer


def test_every_answer_has_a_request_id_and_security_headers(client, at):
    for answer in (client.get(at), client.get("/nothing"), client.options(at), client.post(f"{at}/ops", json=1)):
        assert len(answer.headers["x-request-id"]) >= 16
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"


def test_a_plain_request_id_is_kept_and_any_other_replaced(client):
    assert client.get("/healthz", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for odd in ("<script>", "x" * 65, "a b", ""):
        assert client.get("/healthz", headers={"x-request-id": odd}).headers["x-request-id"] != odd


def test_head_is_get_without_the_body(client, example):
    for path in (f"{example}/tensors/y", "/v1/ops", "/healthz", f"{example}/tensors/x1/grad"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.headers.get("content-length") == get.headers.get("content-length")


def test_options_tells_the_methods(client, at):
    assert client.options(f"{at}/tensors").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert client.options(f"{at}/batch").headers["allow"] == "OPTIONS, POST"
    assert client.options("/nothing").status_code == 404


# Pictures


@pytest.mark.parametrize(
    ("form", "media_type", "begins"),
    [
        ("json", "application/json", '{"root":'),
        ("dot", "text/vnd.graphviz; charset=utf-8", "digraph"),
        ("mermaid", "text/vnd.mermaid; charset=utf-8", "flowchart"),
        ("svg", "image/svg+xml; charset=utf-8", "<svg"),
    ],
)
def test_the_graph_is_drawn_in_every_format(client, example, form, media_type, begins):
    answer = client.get(f"{example}/graph", params={"root": "y", "format": form})

    assert answer.headers["content-type"] == media_type
    assert answer.text.startswith(begins)
    assert "AddBackward0" in answer.text
    assert "x1" in answer.text
    assert "x1" not in client.get(f"{example}/graph", params={"root": "y", "format": form, "names": "false"}).text


def test_a_picture_says_what_it_leaves_out(client, example):
    found = client.get(f"{example}/graph", params={"root": "y", "max_nodes": 2}).json()

    assert (len(found["nodes"]) + len(found["leaves"]), found["omitted"]) == (2, 3)


def test_a_large_picture_collapses_unless_told_not_to(client, at):
    client.post(f"{at}/tensors", json={"id": "y0", "data": [1.0], "requires_grad": True})
    for i in range(8):
        op = {"op": "exp", "inputs": [f"y{i}"], "outputs": [f"y{i + 1}"], "scope": "steps"}
        assert client.post(f"{at}/ops", json=op).status_code == 200
    query = {"root": "y8", "max_nodes": 4}

    found = client.get(f"{at}/graph", params=query).json()
    cut = client.get(f"{at}/graph", params={**query, "collapse": "false"}).json()

    assert [(g["kind"], g["times"], g["scope"]) for g in found["groups"]] == [("repeat", 7, "steps")]
    assert found["omitted"] == 0
    assert (cut["groups"], len(cut["nodes"]), cut["omitted"]) == ([], 4, 5)


def test_a_graph_is_summarised_as_data_and_as_text(client, example):
    found = client.get(f"{example}/graph/summary", params={"root": "y"})
    text = client.get(f"{example}/graph/summary", params={"root": "y", "format": "text"})

    assert found.headers["content-type"] == "application/json"
    assert found.json()["nodes"] == sum(use["nodes"] for use in found.json()["by_op"].values())
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text.startswith("tensor")
    assert "add" in text.text


def test_trailing_optional_tensors_may_be_left_out(client, at):
    client.post(f"{at}/tensors", json={"id": "a", "data": [1.0, 2.0]})

    answer = client.post(f"{at}/ops", json={"op": "mse_loss", "inputs": ["a", "a"], "outputs": ["loss"]})

    assert answer.status_code == 200, answer.text
    assert client.get(f"{at}/tensors/loss").json()["data"] == 0.0
