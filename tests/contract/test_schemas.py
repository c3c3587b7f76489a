"""What a schema lets through is what is read, and nothing else: of every kind of parameter, for values at the edge of each."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.kinds import INDEX, KINDS, NUMBER, Kind

INTEGERS: list[Any] = [0, 1, -1, 2**63 - 1, -(2**63), 2**63, 1.0, -0.0, 3.0, 2.0**53, 1.5, -1e-300]
OTHERS: list[Any] = [
    None,
    True,
    False,
    "float32",
    "NaN",
    "-Infinity",
    "nan",
    "",
    {},
    {"float": "NaN"},
    {"float": 1, "x": 2},
    {"float": None},
]
LISTS: list[Any] = [
    [],
    [1],
    [1.0, 2],
    [1.5],
    [None],
    [None, 2.0],
    [True],
    [[1], [2.0]],
    [["NaN"]],
    ["NaN", 0.5],
    [{"float": "Infinity"}],
]
INDICES: list[Any] = [
    ["..."],
    [{"slice": [None, 1.0, 2]}],
    [{"slice": [0.5, 1, 2]}],
    [{"slice": [1, 2]}],
    [{"tensor": 1.0}],
    [{"tensor": 0}],
]
NUMBERS: list[Any] = [{"complex": [1, "NaN"]}, {"complex": [1]}, {"complex": [None, 1]}, {"complex": [{"float": "NaN"}, 1]}]
VALUES = INTEGERS + OTHERS + LISTS + INDICES + NUMBERS


def is_read(kind: Kind, value: Any) -> bool:
    try:
        kind.decode(value)
    except (ArgumentTypeError, ArgumentValueError):
        return False
    return True


@pytest.mark.parametrize("name", [*KINDS, "number", "index"])
def test_what_the_schema_permits_is_read_and_what_it_does_not_is_refused(name):
    kind = {"number": NUMBER, "index": INDEX}.get(name) or KINDS[name]
    schema = OAS31Validator(kind.schema)
    # A number of any size is a number; of 2**63 no schema can say that its spelling would be a 64-bit integer's.
    values = [v for v in VALUES if v != 2**63 or "umber" not in name]

    assert [value for value in values if schema.is_valid(value) != is_read(kind, value)] == []


def test_a_whole_number_is_an_integer_however_it_is_written():
    assert repr(KINDS["int"].decode(2.0)) == "2"
    assert repr(KINDS["int | Sequence[int] | None"].decode([1e0, 2])) == "(1, 2)"
    assert repr(KINDS["Number"].decode(2.0)) == "2.0"  # where a float is another number, it stays one


@pytest.mark.parametrize("value", [2.0**53 + 2, 1e300, -1e19])
def test_a_number_that_may_have_lost_digits_is_no_integer(value):
    with pytest.raises(ArgumentTypeError, match="expected an integer"):
        KINDS["int"].decode(value)
