"""Callbacks of backward and grad as commands: what they do, and that a fault in them is named and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from telegrad.contract.commands import decode_command, encode_command
from telegrad.contract.limits import Limits
from telegrad.errors import TelegradError
from telegrad_service.session.session import Session


def doubling(name: str) -> dict[str, Any]:
    return {"command": "apply", "op": "mul", "inputs": [name, 2], "outputs": [f"{name}_doubled"]}


def opened(**limits: int) -> Session:
    """x = [1, 2], y = 3 x, s = the sum of y, and a plain tensor p."""
    session = Session("test", Limits(**limits))
    do(
        session,
        {"command": "create", "id": "x", "data": [1.0, 2.0], "requires_grad": True},
        {"command": "create", "id": "p", "data": [1.0, 2.0]},
        {"command": "apply", "op": "mul", "inputs": ["x", 3], "outputs": ["y"]},
        {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
    )
    return session


def do(session: Session, *commands: dict[str, Any]) -> list[dict[str, Any]]:
    """Do commands, each decoded from JSON, encoded and decoded again."""
    decoded = [decode_command(c) for c in commands]
    assert [decode_command(encode_command(c)) for c in decoded] == decoded
    answer = session.batch(decoded)
    if answer.failed is not None:
        raise answer.failed
    return answer.results


def values(session: Session, *names: str) -> list[Any]:
    reads = do(session, *[{"command": "read", "tensor": name} for name in names])
    return [read["data"] for read in reads]


def backward(*callbacks: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"command": "backward", "tensors": ["s"], "retain_graph": True, "callbacks": list(callbacks), **settings}


def test_callbacks_of_all_kinds_and_places() -> None:
    session = opened()
    do(
        session,
        backward(
            {"on": "y", "kind": "tensor", "grads": ["g"], "commands": [doubling("g")], "results": ["g_doubled"]},
            {"on": ["s", 0], "kind": "before", "grads": ["before"]},
            {"on": [1], "kind": "after", "grads": ["after"], "arrived": ["arrived"]},
            {"on": [2, 0], "kind": "tensor", "grads": ["of_x"]},
            {"on": "x", "kind": "accumulated", "commands": [{"command": "set", "tensor": "x.grad", "name": "kept"}]},
        ),
    )

    assert values(session, "g", "before", "after", "arrived", "of_x", "kept") == [[1, 1], [2, 2], [6, 6], [2, 2], [6, 6], [6, 6]]


def test_a_callback_that_stops_ends_the_walk_there() -> None:
    session = opened()
    do(session, backward({"on": "y", "kind": "tensor", "grads": ["g"], "stops": True}))
    (answer,) = do(
        session,
        {
            "command": "grad",
            "outputs": ["s"],
            "inputs": ["x"],
            "results": ["r"],
            "callbacks": [{"on": "y", "kind": "tensor", "stops": True}],
        },
    )

    assert (answer["present"], answer["results"]) == ([False], [None])
    assert values(session, "g") == [[1, 1]]
    assert session.names["x"].grad is None


def test_a_callback_may_walk_with_callbacks_of_its_own() -> None:
    session = opened()
    inner = {
        "command": "grad",
        "outputs": ["s"],
        "inputs": ["x"],
        "results": ["r"],
        "retain_graph": True,
        "callbacks": [{"on": "y", "kind": "tensor", "grads": ["i"], "commands": [doubling("i")], "results": ["i_doubled"]}],
    }
    do(session, backward({"on": "x", "kind": "tensor", "commands": [inner], "results": ["r"]}))

    assert values(session, "r", "x.grad") == [[6, 6], [6, 6]]


def test_a_program_may_have_callbacks() -> None:
    session = opened()
    hook = {"on": "w", "kind": "tensor", "grads": ["g"], "commands": [doubling("g")], "results": ["g_doubled"]}
    commands = [
        {"command": "apply", "op": "sum", "inputs": ["w"], "outputs": ["t"]},
        {"command": "backward", "tensors": ["t"], "callbacks": [hook]},
    ]
    program = session.store_program([decode_command(c) for c in commands], ["w"])
    do(session, {"command": "run", "program": program.id, "inputs": {"w": "x"}, "outputs": {"g": "last"}, "times": 3})

    assert values(session, "last", "x.grad") == [[1, 1], [6, 6]]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a fault in a command": (
        {"on": "y", "kind": "tensor", "grads": ["g"], "commands": [doubling("nobody")]},
        "no tensor of that name",
    ),
    "an op that fails": (
        {"on": "y", "kind": "tensor", "commands": [{"command": "apply", "op": "mm", "inputs": ["p", "p"], "outputs": ["z"]}]},
        "mm",
    ),
    "an unknown tensor": ({"on": "nobody", "kind": "tensor"}, "no tensor of that name"),
    "a tensor without gradient": ({"on": "p", "kind": "tensor"}, "doesn't require gradient"),
    "a path that leaves the graph": ({"on": ["s", 0, 1], "kind": "tensor"}, "ends before input 1"),
    "a path beyond a leaf": ({"on": ["x", 0], "kind": "tensor"}, "ends before input 0"),
    "a callback that is not there": ({"on": [1], "kind": "tensor"}, "no earlier callback"),
    "an output that is not there": ({"on": "y", "kind": "tensor", "output": 1}, "1 output"),
    "no leaf": ({"on": "y", "kind": "accumulated"}, "needs a leaf"),
    "too many names": ({"on": "y", "kind": "tensor", "grads": ["g", "h"]}, "2 names"),
    "a name that is taken": ({"on": "y", "kind": "tensor", "grads": ["p"]}, "exists already"),
    "a name given twice": (
        {"on": "y", "kind": "before", "grads": ["g"], "commands": [{**doubling("g"), "outputs": ["g"]}]},
        "twice",
    ),
    "another shape": ({"on": "y", "kind": "tensor", "results": ["s"]}, "changed the size"),
    "too many results": ({"on": "y", "kind": "tensor", "results": ["p", "p"]}, "one result"),
    "results of several": ({"on": "y", "kind": "before", "results": ["p", "p"]}, "incorrect number"),
    "too many commands": (
        {"on": "y", "kind": "tensor", "commands": [{"command": "seed", "seed": i} for i in range(11)]},
        "max_commands",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_no_name_stays(fault: str) -> None:
    callback, message = FAULTS[fault]
    session = opened(max_commands=10)
    before = set(session.names)
    first = {"on": "s", "kind": "tensor", "grads": ["first"]}

    with pytest.raises(TelegradError, match=message):
        do(session, backward(first, callback))

    assert set(session.names) == before
    do(session, backward())
    assert values(session, "x.grad") == [[3, 3]]


@pytest.mark.parametrize(
    "callback",
    [
        {},
        {"on": "y"},
        {"on": "y", "kind": "later"},
        {"on": [], "kind": "tensor"},
        {"on": [-1], "kind": "tensor"},
        {"on": ["y", "x"], "kind": "tensor"},
        {"on": 3, "kind": "tensor"},
        {"on": "y", "kind": "tensor", "more": 1},
        {"on": "y", "kind": "tensor", "output": -1},
        {"on": "y", "kind": "tensor", "grads": "g"},
        {"on": "y", "kind": "tensor", "grads": ["x.grad"]},
        {"on": "y", "kind": "tensor", "commands": [{"command": "read", "tensor": "x"}]},
        {"on": "y", "kind": "tensor", "commands": [{"command": "release", "tensors": ["x"]}]},
        {"on": "y", "kind": "tensor", "commands": [{"command": "run", "program": "x"}]},
        {"on": "y", "kind": "tensor", "commands": [3]},
        {"on": "y", "kind": "tensor", "commands": 3},
        {"on": "y", "kind": "tensor", "stops": 1},
        [],
        None,
    ],
)
def test_what_is_no_callback_is_refused(callback: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="backward: field 'callbacks'"):
        decode_command({"command": "backward", "tensors": ["s"], "callbacks": [callback]})
