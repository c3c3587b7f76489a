"""Programs: stored once under their content hash, run with other tensors, as often as wanted."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from telegrad.contract.limits import Limits
from telegrad_service.api.app import create_app
from telegrad_service.settings import Settings

STEP = {
    "inputs": ["w", "x", "t"],
    "commands": [
        {"command": "apply", "op": "mul", "inputs": ["w", "x"], "outputs": ["y"]},
        {"command": "apply", "op": "mse_loss", "inputs": ["y", "t"], "outputs": ["loss"]},
        {"command": "backward", "tensors": ["loss"]},
        {"command": "apply", "op": "mul", "inputs": ["w.grad", 0.1], "outputs": ["change"], "grad_enabled": False},
        {"command": "apply", "op": "sub_", "inputs": ["w", "change"], "grad_enabled": False},
        {"command": "set", "tensor": "w", "grad": None},
        {"command": "read", "tensor": "loss"},
    ],
}
HOLES = {"w": "weight", "x": "data", "t": "target"}


@pytest.fixture
def client():
    limits = Limits(max_programs=2, max_run_times=1000)
    with TestClient(create_app(Settings(limits=limits)), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def at(client):
    address = client.post("/v1/sessions").headers["location"]
    client.post(f"{address}/tensors", json={"id": "weight", "data": [1.0, 1.0], "requires_grad": True})
    client.post(f"{address}/tensors", json={"id": "data", "data": [1.0, 2.0]})
    client.post(f"{address}/tensors", json={"id": "target", "data": [3.0, 4.0]})
    return address


def store(client, at, program=STEP):
    answer = client.post(f"{at}/programs", json=program)
    assert answer.status_code == 201, answer.text
    return answer


def test_a_program_is_kept_under_its_content_hash(client, at):
    first, second = store(client, at), store(client, at)

    assert first.json()["id"] == second.json()["id"]
    assert first.json()["id"].startswith("sha256:")
    assert client.get(first.headers["location"]).json() == first.json()
    assert [p["id"] for p in client.get(f"{at}/programs").json()["programs"]] == [first.json()["id"]]


def test_many_runs_are_the_same_bits_as_the_commands_by_hand(client, at):
    where = store(client, at).headers["location"]
    answer = client.post(f"{where}/run", json={"inputs": HOLES, "times": 3})
    assert answer.status_code == 200, answer.text
    losses = [run[0]["data"] for run in answer.json()["results"]]
    after = client.get(f"{at}/tensors/weight").json()["data"]

    by_hand = client.post("/v1/sessions").headers["location"]
    client.post(f"{by_hand}/tensors", json={"id": "w", "data": [1.0, 1.0], "requires_grad": True})
    client.post(f"{by_hand}/tensors", json={"id": "x", "data": [1.0, 2.0]})
    client.post(f"{by_hand}/tensors", json={"id": "t", "data": [3.0, 4.0]})
    expected = []
    for _ in range(3):
        done = client.post(f"{by_hand}/batch", json={"commands": STEP["commands"]})
        expected.append(done.json()["results"][-1]["data"])
        client.post(f"{by_hand}/batch", json={"commands": [{"command": "release", "tensors": ["y", "loss", "change"]}]})

    assert losses == expected
    assert losses[0] > losses[1] > losses[2]
    assert client.get(f"{by_hand}/tensors/w").json()["data"] == after


def test_a_program_makes_no_names_but_those_asked_for(client, at):
    where = store(client, at).headers["location"]

    client.post(f"{where}/run", json={"inputs": HOLES, "outputs": {"loss": "last_loss"}})

    names = [t["id"] for t in client.get(f"{at}/tensors").json()["tensors"]]
    assert names == ["data", "last_loss", "target", "weight"]


def test_a_program_runs_as_a_command_of_a_batch(client, at):
    program = store(client, at).json()["id"]

    answer = client.post(f"{at}/batch", json={"commands": [{"command": "run", "program": program, "inputs": HOLES, "times": 2}]})

    assert len(answer.json()["results"][0]["results"]) == 2


def test_a_failing_run_says_which_run_and_which_command(client, at):
    where = store(client, at, {"commands": [{"command": "apply", "op": "log", "inputs": ["missing"]}]}).headers["location"]

    problem = client.post(f"{where}/run", json={}).json()

    assert problem["type"].endswith(":not-found")
    assert (problem["run"], problem["command"]) == (0, 0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"inputs": {"w": "weight"}}, "argument-value"),
        ({"inputs": {**HOLES, "w": "nothing"}}, "not-found"),
        ({"inputs": HOLES, "outputs": {"unmade": "z"}}, "argument-value"),
        ({"inputs": HOLES, "outputs": {"loss": "weight"}}, "conflict"),
        ({"inputs": HOLES, "times": 0}, "argument-value"),
        ({"inputs": HOLES, "times": 1001}, "limit"),
        ({"inputs": HOLES, "program": "x"}, "argument-type"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_begins(client, at, body, kind):
    where = store(client, at).headers["location"]
    before = client.get(f"{at}/tensors/weight").json()

    problem = client.post(f"{where}/run", json=body).json()

    assert problem["type"] == f"urn:telegrad:problem:{kind}"
    assert client.get(f"{at}/tensors/weight").json() == before


@pytest.mark.parametrize(
    "program",
    [
        {},
        {"commands": 1},
        {"commands": [], "inputs": "w"},
        {"commands": [], "inputs": ["w", "w"]},
        {"commands": [], "inputs": ["no name"]},
        {"commands": [{"command": "run", "program": "p"}]},
        {"commands": [{"command": "create", "id": "x", "buffer": "b"}]},
        {"commands": [], "colour": 1},
    ],
)
def test_a_bad_program_is_refused(client, at, program):
    answer = client.post(f"{at}/programs", json=program)

    assert answer.status_code == 422
    assert client.get(f"{at}/programs").json()["programs"] == []


def test_programs_are_forgotten_and_counted(client, at):
    where = store(client, at).headers["location"]
    store(client, at, {"commands": []})
    refused = client.post(f"{at}/programs", json={"commands": [{"command": "seed", "seed": 1}]}).json()
    assert (refused["limit"], refused["permitted"]) == ("max_programs", 2)

    assert client.delete(where).status_code == 204

    assert client.delete(where).status_code == 404
    assert client.post(f"{where}/run", json={}).status_code == 404
    store(client, at, {"commands": [{"command": "seed", "seed": 1}]})


def test_the_same_words_run_on_what_there_is_then(client, at):
    where = store(client, at).headers["location"]
    losses = [client.post(f"{where}/run", json={"inputs": HOLES}).json()["results"][0][-1]["data"] for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 5

    client.delete(f"{at}/tensors/target")
    assert client.post(f"{where}/run", json={"inputs": HOLES}).status_code == 404

    client.delete(where)
    client.post(f"{at}/tensors", json={"id": "target", "data": [3.0, 4.0]})
    assert client.post(f"{where}/run", json={"inputs": HOLES}).status_code == 404
    store(client, at)
    assert client.post(f"{where}/run", json={"inputs": HOLES}).status_code == 200


def test_the_same_words_mean_another_thing_at_another_program(client, at):
    other = {
        "inputs": ["w", "x", "t"],
        "commands": [{"command": "apply", "op": "add", "inputs": ["x", "t"], "outputs": ["y"]}, {"command": "read", "tensor": "y"}],
    }
    first, second = (store(client, at, program).headers["location"] for program in (STEP, other))
    for _ in range(3):
        assert client.post(f"{first}/run", json={"inputs": HOLES}).json()["results"][0][0]["index"] == 6
        assert client.post(f"{second}/run", json={"inputs": HOLES}).json()["results"][0][0]["data"] == [4.0, 6.0]
