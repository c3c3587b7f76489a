"""Parameter kinds: what is encoded is decoded to the same value, and junk is refused in one of two ways."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrad.contract import dtypes
from telegrad.contract.errors import ArgumentTypeError, ArgumentValueError
from telegrad.contract.kinds import INTERNAL, KINDS, MAX_INT, TensorSlot, decode_parameters
from telegrad.contract.ops import OPS

PUBLIC = [annotation for annotation, kind in KINDS.items() if kind is not INTERNAL]

INTEGERS = st.integers(-MAX_INT - 1, MAX_INT)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
NUMBERS = st.booleans() | INTEGERS | FLOATS | st.complex_numbers(allow_nan=True, allow_infinity=True)
INT_TUPLES = st.lists(INTEGERS, max_size=4).map(tuple)
TEXT = st.text(max_size=8)
OPTIONAL_INTEGERS = st.none() | INTEGERS
INDEX_ITEMS = (
    INTEGERS
    | st.booleans()
    | st.none()
    | st.just(Ellipsis)
    | st.builds(slice, OPTIONAL_INTEGERS, OPTIONAL_INTEGERS, OPTIONAL_INTEGERS)
    | st.builds(TensorSlot, st.integers(1, 64))
)
BASE: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": INTEGERS,
    "float": FLOATS,
    "str": TEXT,
    "Number": NUMBERS,
    "DTypeLike": st.sampled_from(list(dtypes.DTYPES.values())),
    "Index": st.lists(INDEX_ITEMS, max_size=4).map(tuple),
    "Sequence[int]": INT_TUPLES,
    "Sequence[float]": st.lists(FLOATS, max_size=4).map(tuple),
    "int | Sequence[int]": INT_TUPLES,
    "*int": INT_TUPLES,
    "*int | Sequence[int]": INT_TUPLES,
    "int | Sequence[int] | str": INT_TUPLES | TEXT,
    "int | list[int]": INTEGERS | INT_TUPLES,
    "int | Sequence[int | None]": st.lists(OPTIONAL_INTEGERS, max_size=4).map(tuple),
    "int | Sequence[Sequence[int]]": INTEGERS | st.lists(INT_TUPLES, max_size=3).map(tuple),
    "Sequence[Sequence[int]]": st.lists(INT_TUPLES, max_size=3).map(tuple),
    "float | Sequence[float]": FLOATS | st.lists(FLOATS, max_size=4).map(tuple),
    "float | str": FLOATS | TEXT.filter(lambda t: t not in ("NaN", "Infinity", "-Infinity")),
}


def values_of(annotation: str) -> st.SearchStrategy[Any]:
    """Canonical values of a kind."""
    if annotation.endswith(" | None"):
        return st.none() | values_of(annotation.removesuffix(" | None"))
    return BASE[annotation]


def same(a: Any, b: Any) -> bool:
    """Equal in value and type, NaN equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["slice", "tensor", "float", "complex", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("annotation", PUBLIC)
@given(data=st.data())
def test_values_survive_json(annotation: str, data: st.DataObject) -> None:
    kind = KINDS[annotation]
    value = data.draw(values_of(annotation))

    text = json.dumps(kind.encode(value), allow_nan=False)

    assert same(kind.decode(json.loads(text)), value)


@pytest.mark.parametrize("annotation", KINDS)
@given(junk=JUNK)
def test_junk_is_refused_as_type_or_value(annotation: str, junk: Any) -> None:
    kind = KINDS[annotation]

    try:
        decoded = kind.decode(junk)
    except (ArgumentTypeError, ArgumentValueError):
        return

    assert same(kind.decode(json.loads(json.dumps(kind.encode(decoded), allow_nan=False))), decoded)


@pytest.mark.parametrize("annotation", KINDS)
def test_refusals_do_not_echo_the_value(annotation: str) -> None:
    secret = "correct horse battery staple"

    for value in ({secret: secret}, [secret, {secret: 1}]):
        with pytest.raises((ArgumentTypeError, ArgumentValueError)) as raised:
            KINDS[annotation].decode(value)
        assert secret not in str(raised.value)


def test_refused_parameter_is_named() -> None:
    with pytest.raises(ArgumentTypeError, match="add: parameter 'alpha'"):
        decode_parameters(OPS["add"], {"alpha": "much"})


def test_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentTypeError, match="its parameters are: alpha"):
        decode_parameters(OPS["add"], {"beta": 1})
