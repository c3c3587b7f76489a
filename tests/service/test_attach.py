"""``attach`` and ``custom`` callbacks as commands: a node whose gradients the client computes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from telegrad.errors import TelegradError
from telegrad_service.session.session import Session
from tests.service.test_callbacks import do, values


def opened(**settings: Any) -> Session:
    """x = [1, 2] requires grad; y = x * x as the output of a node F; s = the sum of y."""
    session = Session("test")
    square: dict[str, Any] = {"command": "apply", "op": "mul", "inputs": ["x", "x"], "outputs": ["y"], "grad_enabled": False}
    do(
        session,
        {"command": "create", "id": "x", "data": [1.0, 2.0], "requires_grad": True},
        {"command": "create", "id": "p", "data": [1.0, 2.0]},
        {"command": "create", "id": "n", "data": [1, 2]},
        square,
        {"command": "attach", "name": "FBackward", "inputs": ["x"], "outputs": ["y"], **settings},
        {"command": "apply", "op": "sum", "inputs": ["y"], "outputs": ["s"]},
    )
    return session


def backward(results: Any = ("double",), **callback: Any) -> dict[str, Any]:
    times = {"command": "apply", "op": "mul", "inputs": ["g", "x"], "outputs": ["half"]}
    twice = {"command": "apply", "op": "mul", "inputs": ["half", 2], "outputs": ["double"]}
    wide = {"command": "apply", "op": "narrow", "inputs": ["double"], "parameters": {"dim": 0, "start": 0, "length": 1}}
    made = {"on": "y", "kind": "custom", "grads": ["g"], "commands": [times, twice, {**wide, "outputs": ["short"]}], **callback}
    return {"command": "backward", "tensors": ["s"], "callbacks": [{**made, "results": results and list(results)}]}


def test_a_callback_computes_the_gradients_of_the_node() -> None:
    session = opened()
    do(session, backward())

    assert values(session, "x.grad", "g") == [[2.0, 4.0], [1.0, 1.0]]
    described = do(session, {"command": "read", "tensor": "y", "what": "description"})[0]["tensor"]
    assert (described["grad_fn"], described["is_leaf"]) == ("FBackward", False)


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (backward(results=("short",)), "got [1] but expected shape compatible with [2]"),
        (backward(results=("double", None)), "one result for each of the 1 inputs"),
        (backward(results=None), "one result for each of the 1 inputs"),
        (backward(on="x"), "a custom callback needs a node that attach made"),
        (backward(on="s"), "a custom callback needs a node that attach made"),
        ({"command": "backward", "tensors": ["s"]}, "runs a function that only the client has"),
    ],
)
def test_a_callback_that_does_not_fit_is_refused(callback: dict[str, Any], said: str) -> None:
    session = opened()
    with pytest.raises(TelegradError) as caught:
        do(session, callback)

    assert said in caught.value.detail
    do(session, backward())  # nothing of the refused one stays
    assert values(session, "x.grad") == [[2.0, 4.0]]


def test_what_saves_can_be_walked_once() -> None:
    session = opened(saves=True)
    do(session, backward())
    do(session, {"command": "release", "tensors": ["g", "half", "double", "short"]})

    with pytest.raises(TelegradError, match="a custom callback needs a node that attach made, and that was not freed"):
        do(session, backward())
    with pytest.raises(TelegradError, match="second time"):
        do(session, {"command": "backward", "tensors": ["s"]})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"inputs": ["p"], "outputs": ["q"]}, "needs an input that requires grad"),
        ({"inputs": ["x"], "outputs": []}, "needs an output with a gradient"),
        ({"inputs": ["x"], "outputs": [None]}, "needs an output with a gradient"),
        ({"inputs": ["x"], "outputs": ["q"], "constants": [0]}, "needs an output with a gradient"),
        ({"inputs": ["x"], "outputs": ["q"], "constants": [1]}, "name outputs by position"),
        ({"inputs": ["x"], "outputs": ["q"], "dirty": [1]}, "name outputs by position"),
        ({"inputs": ["x"], "outputs": ["q"], "dirty": [0]}, "must be inputs"),
        ({"inputs": ["x"], "outputs": ["x"], "dirty": [0]}, "has been used in an in-place operation"),
        ({"inputs": ["x"], "outputs": ["y"]}, "different tensors that require no grad"),
        ({"inputs": ["x"], "outputs": ["q", "q"]}, "different tensors that require no grad"),
        ({"inputs": ["x", "q"], "outputs": ["q"]}, "and are no inputs"),
        ({"inputs": ["x"], "outputs": ["n"]}, "must be floating point or complex"),
        ({"inputs": ["x"], "outputs": ["nobody"]}, "nobody"),
    ],
)
def test_tensors_that_cannot_be_results_are_refused(settings: dict[str, Any], said: str) -> None:
    session = opened()
    do(session, {"command": "apply", "op": "exp", "inputs": ["p"], "outputs": ["q"]})
    with pytest.raises(TelegradError) as caught:
        do(session, {"command": "attach", "name": "G", **settings})

    assert said in caught.value.detail or caught.value.code == "not-found"
    described = do(session, {"command": "read", "tensor": "q", "what": "description"})[0]["tensor"]
    assert described["requires_grad"] is False
