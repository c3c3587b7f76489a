"""Callbacks of backward and grad as commands: what they do, and that a fault in them is named and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from telegrad.contract.command_fields import decode_command, encode_command
from telegrad.contract.limits import Limits
from telegrad.errors import ConflictError, NotFoundError, TelegradError
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


def resume(walk: str, **more: Any) -> dict[str, Any]:
    return {"command": "resume", "walk": walk, **more}


def test_a_backward_waits_where_a_callback_pauses() -> None:
    session = opened()
    (waits,) = do(session, backward({"on": "y", "kind": "tensor", "grads": ["g"], "commands": [doubling("g")], "pauses": "w"}))
    assert waits == {"index": 0, "waits": "w"}
    assert values(session, "g", "g_doubled") == [[1, 1], [2, 2]]
    assert session.names["x"].grad is None

    more = {"on": ["s", 0, 0], "kind": "tensor", "grads": ["of_x"], "pauses": "v"}
    (waits,) = do(session, resume("w", results=["g_doubled"], callbacks=[{"on": [0], "kind": "tensor", "grads": ["h"]}, more]))
    assert waits == {"index": 0, "waits": "v"}
    assert values(session, "h", "of_x") == [[2, 2], [6, 6]]
    do(session, resume("v"))

    assert values(session, "x.grad") == [[6, 6]]
    assert not session.waiting


PAUSES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "before a node": ([{"on": "y", "kind": "before", "grads": ["g"]}], {"results": ["g_doubled"]}),
    "after a node": ([{"on": "s", "kind": "after", "grads": ["g"]}], {"results": ["g_doubled"]}),
    "a leaf": ([{"on": "x", "kind": "tensor", "grads": ["g"]}], {"results": ["g_doubled"]}),
    "before the accumulation": ([{"on": "x", "kind": "before", "grads": ["g"]}], {"results": ["g_doubled"]}),
}


@pytest.mark.parametrize("what", PAUSES)
def test_what_is_given_to_a_walk_that_waits_goes_on(what: str) -> None:
    session = opened()
    (callback,), given = PAUSES[what]
    do(session, backward({**callback, "commands": [doubling("g")], "pauses": "w"}), resume("w", **given))

    assert values(session, "x.grad") == [[6, 6]]


def test_a_grad_that_waits_has_its_results_at_the_end() -> None:
    session = opened()
    command = {"command": "grad", "outputs": ["s"], "inputs": ["x"], "retain_graph": True}
    pausing = {"on": "y", "kind": "tensor", "grads": ["g"], "pauses": "w"}
    waits, ends = do(session, {**command, "results": ["r"], "callbacks": [pausing]}, resume("w"))
    assert waits == {"index": 0, "present": [False], "results": [None], "waits": "w"}
    assert ends == {"index": 1, "present": [True], "results": ["r"]}
    do(session, {**command, "results": [None], "callbacks": [{**pausing, "grads": []}]}, resume("w", gradients=["named"]))
    (stopped,) = do(session, {**command, "callbacks": [{**pausing, "grads": []}]}, resume("w", stops=True))[1:]
    assert stopped == {"index": 1, "present": [False], "results": [None]}

    assert values(session, "r", "named") == [[3, 3], [3, 3]]


def test_a_walk_that_waits_keeps_its_graph_and_is_counted() -> None:
    session = opened()
    do(session, backward({"on": "y", "kind": "tensor", "grads": ["g"], "pauses": "w"}))
    do(session, {"command": "release", "tensors": ["s", "y", "g"]})
    assert session.summary()["nodes"] == 2
    do(session, resume("w"))

    assert session.summary()["nodes"] == 0
    assert values(session, "x.grad") == [[3, 3]]


def test_the_walk_that_waits_longest_is_given_up_where_many_do() -> None:
    session = opened()
    for number in range(65):
        do(session, backward({"on": "y", "kind": "tensor", "pauses": f"w{number}"}))
    with pytest.raises(NotFoundError, match="too many wait"):
        do(session, resume("w0"))
    for number in range(1, 65):
        do(session, resume(f"w{number}"))

    assert values(session, "x.grad") == [[64 * 3, 64 * 3]]


def test_two_walks_cannot_wait_under_one_name() -> None:
    session = opened()
    pausing = {"on": "y", "kind": "tensor", "pauses": "w"}
    do(session, backward(pausing))
    for command in (backward(pausing), {**backward({"on": "y", "kind": "tensor"}), "waits": "w"}):
        with pytest.raises(ConflictError, match="waits already"):
            do(session, command)
    do(session, resume("w"))

    assert values(session, "x.grad") == [[3, 3]]


def test_a_resume_that_fails_leaves_no_name_and_ends_the_walk() -> None:
    session = opened()
    pausing = {"on": "y", "kind": "tensor", "grads": ["g"], "pauses": "w"}
    for fault in (
        {"results": ["s"]},
        {"results": ["g", "g"]},
        {"callbacks": [{"on": "x", "kind": "tensor", "grads": ["h"], "commands": [doubling("nobody")]}]},
    ):
        do(session, backward(pausing))
        names = set(session.names)
        with pytest.raises(TelegradError):
            do(session, resume("w", **fault))
        assert set(session.names) == names
        assert not session.waiting
        do(session, {"command": "release", "tensors": ["g"]})
    assert session.names["x"].grad is None


def test_a_resume_that_is_refused_lets_the_walk_wait() -> None:
    session = opened()
    do(session, backward({"on": "y", "kind": "tensor", "grads": ["g"], "pauses": "w"}))
    for fault in (
        {"callbacks": [{"on": "nobody", "kind": "tensor"}]},
        {"callbacks": [{"on": "x", "kind": "tensor", "grads": ["g"]}]},
    ):
        with pytest.raises(TelegradError):
            do(session, resume("w", **fault))
    do(session, resume("w"))

    assert values(session, "x.grad") == [[3, 3]]


def test_a_backward_that_waits_everywhere_tells_where_it_is() -> None:
    session = opened()
    do(
        session,
        {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["q"], "grad_enabled": False},
        {"command": "attach", "name": "Q", "inputs": ["x"], "outputs": ["q"], "label": "own"},
        {"command": "apply", "op": "mul", "inputs": ["q", "y"], "outputs": ["r"]},
        {"command": "apply", "op": "sum", "inputs": ["r"], "outputs": ["s2"]},
    )
    places = [{"on": "y", "kind": "tensor"}, {"on": "x", "kind": "accumulated"}, {"on": "s", "kind": "after"}]
    command = {"command": "backward", "tensors": ["s2"], "waits": "w", "callbacks": places}
    (first,) = do(session, command)
    assert (first["waits"], first["label"], first["reached"]) == ("w", "own", [0, 1])
    (name,) = [g["id"] for g in first["grads"]]
    assert values(session, name) == [[3, 6]]  # y
    (second,) = do(session, resume("w", results=[name]))
    assert (second["callback"], [g["shape"] for g in second["grads"]]) == (0, [[2]])
    (third,) = do(session, resume("w"))
    assert (third["callback"], third.get("grads")) == (1, None)
    assert do(session, resume("w")) == [{"index": 0, "waits": None}]
    assert values(session, "x.grad") == [[3 + 3, 6 + 12]]


def test_a_grad_that_waits_everywhere_ends_with_its_gradients() -> None:
    session = opened()
    command = {"command": "grad", "outputs": ["s"], "inputs": ["x"], "results": ["r"], "waits": "w"}
    waits, ends = do(session, {**command, "callbacks": [{"on": "s", "kind": "after"}]}, resume("w", stops=False))
    assert (waits["callback"], len(waits["grads"]), len(waits["arrived"])) == (0, 1, 1)
    assert ends == {"index": 1, "present": [True], "results": ["r"]}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a pause with results": ({"on": "y", "kind": "tensor", "results": ["p"], "pauses": "w"}, "has no results"),
    "a pause that stops": ({"on": "y", "kind": "tensor", "stops": True, "pauses": "w"}, "does not stop"),
    "a pause under a name that is taken": ({"on": "y", "kind": "tensor", "pauses": "p"}, "exists already"),
    "a pause within": (
        {"on": "y", "kind": "tensor", "commands": [backward({"on": "x", "kind": "tensor", "pauses": "w"})]},
        "only the outermost",
    ),
    "a wait within": (
        {"on": "y", "kind": "tensor", "commands": [{**backward(), "waits": "w"}]},
        "only the outermost",
    ),
    "a resume within": ({"on": "y", "kind": "tensor", "commands": [resume("w")]}, "cannot resume"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_pause_that_cannot_be_is_refused(what: str) -> None:
    session = opened()
    callback, message = REFUSED[what]
    with pytest.raises(TelegradError, match=message):
        do(session, backward(callback))


def test_a_program_waits_for_nobody() -> None:
    session = opened()
    for command in (backward({"on": "s", "kind": "tensor", "pauses": "w"}), {**backward(), "waits": "w"}, resume("w")):
        with pytest.raises(TelegradError, match="cannot wait"):
            session.store_program([decode_command(command)], ["s"])


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
