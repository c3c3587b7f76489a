"""The command vocabulary: one table decodes, encodes and describes it."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrad.contract import command_fields, commands
from telegrad.contract.errors import ArgumentError

EXAMPLES: list[dict[str, Any]] = [
    {"command": "create", "id": "x", "data": [[1.0, "NaN"]], "dtype": "float64", "requires_grad": True},
    {"command": "create", "id": "x", "base64": "AAAA", "dtype": "float32", "shape": [1]},
    {"command": "create", "id": "x", "data": None},
    {"command": "apply", "op": "add", "inputs": ["x", 2.5], "parameters": {"alpha": 2}, "outputs": ["y", None]},
    {"command": "apply", "op": "add_", "inputs": ["x", {"complex": [1.0, "Infinity"]}], "grad_enabled": False},
    {"command": "apply", "op": "linear", "inputs": ["x", "w", None], "outputs": ["y"]},
    {"command": "backward", "tensors": ["y"], "grad_tensors": [None], "retain_graph": True, "inputs": ["x"]},
    {"command": "grad", "outputs": ["y"], "inputs": ["x.grad"], "allow_unused": False, "results": [None]},
    {"command": "set", "tensor": "x", "grad": None},
    {"command": "set", "tensor": "x", "data": "y"},
    {"command": "set", "tensor": "x", "detach": True},
    {"command": "set", "tensor": "x.grad", "name": "g", "requires_grad": False},
    {"command": "read", "tensor": "x", "what": "description"},
    {"command": "release", "tensors": ["x", "y"]},
    {"command": "seed", "seed": -1},
    {"command": "seed", "save": "state"},
    {"command": "seed", "state": "state"},
    {"command": "attach", "name": "F", "inputs": ["x"], "outputs": ["x"], "dirty": [0]},
    {"command": "attach", "name": "F", "inputs": ["x"], "outputs": ["y"]},
    {
        "command": "attach",
        "name": "F",
        "inputs": ["x"],
        "outputs": ["y", None, "m"],
        "constants": [2],
        "materialize": False,
        "saves": True,
    },
    {"command": "run", "program": "sha256:0", "inputs": {"a": "x"}, "outputs": {"b": "y"}, "times": 3},
    {"command": "backward", "tensors": ["y"], "callbacks": [{"on": "y", "kind": "tensor", "grads": ["g"], "pauses": "w"}]},
    {"command": "backward", "tensors": ["y"], "waits": "w"},
    {"command": "grad", "outputs": ["y"], "inputs": ["x"], "waits": "w"},
    {"command": "attach", "name": "F", "inputs": ["x"], "outputs": ["y"], "label": "node"},
    {"command": "resume", "walk": "w"},
    {
        "command": "resume",
        "walk": "w",
        "results": ["g", None],
        "stops": True,
        "callbacks": [{"on": ["y", 0], "kind": "before"}],
        "gradients": ["r", None],
    },
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: "-".join(map(str, e.values()))[:50])
def test_a_command_survives_the_wire(example: dict[str, Any]) -> None:
    command = command_fields.decode_command(example)

    again = command_fields.decode_command(command_fields.encode_command(command))

    assert repr(again) == repr(command)


def test_every_command_has_an_example_and_every_field_a_kind() -> None:
    assert {e["command"] for e in EXAMPLES} == set(commands.COMMANDS)
    for name, cls in commands.COMMANDS.items():
        assert [f.name for f in fields(cls)] == list(command_fields.FIELDS[name])


def test_every_schema_refuses_other_fields_and_requires_what_has_no_default() -> None:
    for cls in commands.COMMANDS.values():
        schema = command_fields.schema(cls)
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= set(schema["properties"])
    assert command_fields.schema(commands.Backward)["required"] == ["command", "tensors"]


BAD: list[Any] = [
    None,
    [],
    {},
    {"command": None},
    {"command": ["apply"]},
    {"command": "explode"},
    {"command": "apply"},
    {"command": "apply", "op": "no_such_op"},
    {"command": "apply", "op": "add", "inputs": "x"},
    {"command": "apply", "op": "add", "inputs": [[]]},
    {"command": "apply", "op": "add", "inputs": ["x y"]},
    {"command": "apply", "op": "add", "inputs": [10**30]},
    {"command": "apply", "op": "add", "parameters": []},
    {"command": "apply", "op": "add", "parameters": {"beta": 1}},
    {"command": "apply", "op": "sum", "parameters": {"dim": 1.5}},
    {"command": "apply", "op": "sum", "parameters": {"keepdim": 1}},
    {"command": "apply", "op": "sum", "parameters": {"dtype": "float17"}},
    {"command": "apply", "op": "add", "outputs": ["x.grad"]},
    {"command": "apply", "op": "add", "grad_enabled": "yes"},
    {"command": "backward", "tensors": "y"},
    {"command": "backward", "tensors": [None]},
    {"command": "read", "tensor": "x", "what": "soul"},
    {"command": "release", "tensors": [1]},
    {"command": "seed", "seed": True},
    {"command": "attach", "name": "", "inputs": ["x"], "outputs": ["y"]},
    {"command": "attach", "name": "a\nb", "inputs": ["x"], "outputs": ["y"]},
    {"command": "attach", "name": "F", "inputs": [None], "outputs": ["y"]},
    {"command": "attach", "name": "F", "inputs": ["x"], "outputs": ["y"], "constants": [-1]},
    {"command": "seed", "seed": 2**64},
    {"command": "run", "program": "p", "times": 0},
    {"command": "create", "id": ""},
    {"command": "create", "id": "x" * 65},
    {"command": "create", "id": "x", "shape": ["2"]},
    {"command": "create", "id": "x", "colour": "red"},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda b: str(b)[:60])
def test_a_bad_command_is_refused_by_name_without_an_echo(bad: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        command_fields.decode_command(bad)

    for secret in ("explode", "no_such_op", "float17", "soul", "colour", "x y", "beta"):
        assert secret not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=8), s, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(commands.COMMANDS)), st.data())
def test_junk_in_any_field_gives_a_typed_refusal_or_a_command(name: str, data: st.DataObject) -> None:
    known = sorted(command_fields.FIELDS[name])
    junk = data.draw(st.dictionaries(st.sampled_from(known), JSON, max_size=4))

    with contextlib.suppress(ArgumentError):
        command_fields.decode_command({"command": name, **junk})
