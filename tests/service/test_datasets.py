"""Data sets: tensors named by the hash of what they hold, uploaded once and never changed."""

from __future__ import annotations

import base64
import hashlib

import numpy as np
import pytest

from telegrad.contract.datasets import content_name, is_content_name

DATA = np.arange(6, dtype=np.float32).reshape(3, 2)
NAME = content_name(DATA)
RAW = {"content-type": "application/octet-stream"}


@pytest.fixture
def held(client, at):
    answer = upload(client, at, NAME, DATA)
    assert answer.status_code == 201, answer.text
    return at


def upload(client, at, name, array):
    shape = ",".join(map(str, array.shape))
    return client.post(
        f"{at}/tensors", params={"id": name, "dtype": array.dtype.name, "shape": shape}, content=array.tobytes(), headers=RAW
    )


def test_the_name_is_the_hash_of_type_sizes_and_elements():
    digest = hashlib.sha256(b"float32 3,2\n" + DATA.tobytes()).digest()

    assert "sha256:" + base64.urlsafe_b64encode(digest).decode().rstrip("=") == NAME
    assert is_content_name(NAME)
    assert not is_content_name(NAME[:-1])
    assert len({NAME, *(content_name(x) for x in (DATA.T, DATA.reshape(2, 3), DATA.astype(np.float64), DATA.view(np.int32)))}) == 5
    assert content_name(np.asfortranarray(DATA)) == NAME
    assert content_name(DATA.astype(">f4")) == NAME
    assert content_name(np.float32(1).reshape(())) != content_name(np.ones(1, np.float32))


def test_who_has_the_hash_learns_whether_the_session_has_the_data(client, at):
    assert client.head(f"{at}/tensors/{NAME}").status_code == 404

    assert upload(client, at, NAME, DATA).status_code == 201

    assert client.head(f"{at}/tensors/{NAME}").status_code == 200
    assert client.get(f"{at}/tensors/{NAME}").json()["data"] == DATA.tolist()
    assert upload(client, at, NAME, DATA).status_code == 409


def test_other_data_under_the_name_is_refused(client, at):
    problem = upload(client, at, NAME, DATA + 1)

    assert (problem.status_code, problem.json()["type"]) == (422, "urn:telegrad:problem:argument-value")
    assert client.head(f"{at}/tensors/{NAME}").status_code == 404


@pytest.mark.parametrize(
    "command",
    [
        {"command": "apply", "op": "add_", "inputs": [NAME, 1]},
        {"command": "apply", "op": "relu_", "inputs": [NAME]},
        {"command": "apply", "op": "mul_", "inputs": ["row", 2]},
        {"command": "apply", "op": "index_fill_", "inputs": [NAME, "i", 1], "parameters": {"dim": 0}},
        {"command": "set", "tensor": NAME, "requires_grad": True},
        {"command": "set", "tensor": "alias", "requires_grad": True},
        {"command": "set", "tensor": NAME, "data": "row"},
        {"command": "set", "tensor": NAME, "detach": True},
        {"command": "set", "tensor": "row", "name": content_name(DATA[0])},
        {"command": "apply", "op": "neg", "inputs": ["row"], "outputs": [content_name(-DATA[0])]},
        {"command": "create", "id": content_name(DATA[0]), "data": [0.0, 1.0], "dtype": "float32", "requires_grad": True},
    ],
    ids=lambda c: "-".join(str(v) for v in (c["command"], c.get("op"), *c) if v)[:60],
)
def test_a_data_set_stays_as_it_is(client, held, command):
    setup = [
        {"command": "apply", "op": "select", "inputs": [NAME], "parameters": {"dim": 0, "index": 0}, "outputs": ["row"]},
        {"command": "set", "tensor": NAME, "name": "alias"},
        {"command": "create", "id": "i", "data": [0]},
    ]
    assert client.post(f"{held}/batch", json={"commands": setup}).status_code == 200

    answer = client.post(f"{held}/batch", json={"commands": [command]})

    assert answer.status_code in {409, 422}
    assert "data set" in answer.json()["detail"]
    told = client.get(f"{held}/tensors/{NAME}").json()
    assert (told["data"], told["requires_grad"], told["version"]) == (DATA.tolist(), False, 0)


def test_what_is_detached_of_it_has_its_memory_and_a_life_of_its_own(client, held):
    before = client.get(held).json()["bytes"]
    commands = [
        {"command": "apply", "op": "detach", "inputs": [NAME], "outputs": ["x"]},
        {"command": "set", "tensor": "x", "requires_grad": True},
        {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"]},
        {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
        {"command": "backward", "tensors": ["s"]},
        {"command": "release", "tensors": ["y", "s"]},
        {"command": "read", "tensor": "x.grad"},
    ]

    answer = client.post(f"{held}/batch", json={"commands": commands})

    assert answer.json()["results"][-1]["data"] == (2 * DATA).tolist()
    assert client.get(held).json()["bytes"] == before + DATA.nbytes  # its gradient
    assert client.get(f"{held}/tensors/{NAME}/grad").status_code == 404


def test_a_released_data_set_can_be_uploaded_again(client, held):
    assert client.delete(f"{held}/tensors/{NAME}").status_code == 204

    assert upload(client, held, NAME, DATA).status_code == 201
