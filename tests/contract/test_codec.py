"""Bytes in, the same arrays out; and junk in, nothing but a typed refusal out."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrad.contract import codec, dtypes, kinds
from telegrad.contract.errors import ArgumentError, ArgumentValueError, LimitError, RequestError
from telegrad.contract.literal import array_of
from tests.strategies import arrays, same_bits


@given(arrays())
def test_base64_round_trips_to_the_bit(array: np.ndarray[Any, Any]) -> None:
    text = codec.to_base64(array)

    assert same_bits(codec.from_base64(text, dtypes.from_numpy(array.dtype), array.shape), array)


@given(arrays().filter(lambda a: a.size > 0 or a.ndim < 2))
def test_json_round_trips_every_value(array: np.ndarray[Any, Any]) -> None:
    text = codec.dump_json(codec.array_to_json(array))

    found = codec.array_from_json(codec.load_json(text, max_depth=64), dtypes.from_numpy(array.dtype), max_elements=10**6)

    assert found.shape == array.shape
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found[~np.isnan(array)]), np.signbit(array[~np.isnan(array)]))


def test_a_bool_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(RequestError, match="neither 0 nor 1"):
        codec.array_from_bytes(b"\x02", dtypes.bool_, (1,))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "UTF-8"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[" * 65 + b"]" * 65, "max_json_depth"),
        (b"1" * 5000, "digits"),
    ],
)
def test_json_that_is_not_strict_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        codec.load_json(text, max_depth=64)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=6), s, max_size=3) | st.tuples(s, s),
    max_leaves=8,
)


@pytest.mark.parametrize("with_c", [True, False])
@given(value=TREES)
def test_json_is_written_as_the_library_writes_it(with_c: bool, value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not with_c:
            patch.setattr(json.encoder, "c_make_encoder", None)
        write = codec.json_writer(allow_nan=False)
        assert write(value) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize("value", [math.nan, [1.0, math.inf], {"a": -math.inf}])
def test_a_nan_that_slipped_through_is_no_json(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        codec.dump_json(value)
    assert "N" in codec.json_writer(allow_nan=True)(value) or "Infinity" in codec.json_writer(allow_nan=True)(value)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_what_is_no_json_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        codec.dump_json({"a": value})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6), lambda s: st.lists(s, max_size=3), max_leaves=8
    )
)
def test_the_depth_of_any_json_is_measured_right(value: Any) -> None:
    def depth(v: Any) -> int:
        return 1 + max(map(depth, v), default=0) if isinstance(v, list) else 0

    assert codec.json_size(json.dumps(value).encode()).depth == depth(value)


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    assert codec.json_size(rb'["[[[\"[[", {"]]": "\\"}]').depth == 2


@pytest.mark.parametrize(
    "data", ["x", None, [None], [[1], [2, 3]], [1, [2]], [[], [1]], {"float": "x"}, [{"complex": [1]}], ["nan"]]
)
def test_data_that_is_no_tensor_is_refused(data: Any) -> None:
    with pytest.raises(ArgumentError):
        codec.array_from_json(data, None, max_elements=100)


def test_more_numbers_than_allowed_are_refused_with_both_counts() -> None:
    with pytest.raises(LimitError, match=r"4 numbers, permitted are 3") as caught:
        codec.array_from_json([1, 2, 3, 4], None, max_elements=3)
    assert caught.value.extra["predicted"] == 4


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, dtypes.float32),
        (1, dtypes.int64),
        (True, dtypes.bool_),
        ([1, 2.5], dtypes.float32),
        ([True, 2], dtypes.int64),
        ([], dtypes.float32),
        ({"complex": [1, 2]}, dtypes.complex64),
        ("NaN", dtypes.float32),
    ],
)
def test_types_are_inferred_as_pytorch_infers_them(data: Any, dtype: dtypes.DType) -> None:
    assert codec.array_from_json(data, None, max_elements=100).dtype == dtype.numpy


@pytest.mark.parametrize(
    ("data", "dtype", "expected"),
    [
        ([2**53 + 1, 0.5], dtypes.int64, [2**53 + 1, 0]),
        ([-(2**63), 2**63 - 1, True, -0.9], dtypes.int64, [-(2**63), 2**63 - 1, 1, 0]),
        ([2**64 - 1, 0.5], dtypes.uint64, [2**64 - 1, 0]),
        ([2**64 - 1, 0], dtypes.uint64, [2**64 - 1, 0]),
        ([-1], dtypes.uint8, [255]),  # as in C, and in PyTorch
        ([2**63, {"float": "NaN"}], dtypes.float64, [2.0**63, math.nan]),
        ([10**20], dtypes.float64, [1e20]),
        ([5e-324, -0.0, 1.7976931348623157e308], dtypes.float64, [5e-324, -0.0, 1.7976931348623157e308]),
        ([0, 0.5, 2, "NaN"], dtypes.bool_, [False, True, True, True]),
        ([2**53 + 1, {"complex": [0, 1]}], dtypes.complex128, [complex(2**53), 1j]),
    ],
)
def test_numbers_of_several_kinds_are_converted_one_by_one(data: Any, dtype: dtypes.DType, expected: list[Any]) -> None:
    found = codec.array_from_json(data, dtype, max_elements=100)

    assert found.dtype == dtype.numpy
    assert repr(found.tolist()) == repr(expected)  # tells -0.0 from 0.0, and knows nan


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (["NaN"], dtypes.int64),
        (["Infinity", 1], dtypes.int32),
        ([1e20], dtypes.int64),
        ([300], dtypes.int8),
        ([300.7], dtypes.int8),
        ([-0.5], dtypes.uint8),
        ([2**53 + 1, 2.0**63], dtypes.int64),
        ([-(2**64), 0.5], dtypes.uint64),
        ([10**400, 0.5], dtypes.int64),
        ([10**400], dtypes.float64),
        ([2**63], None),
        ([{"complex": [1, 2]}, 1], dtypes.float32),
        ([{"complex": [1, 2]}], dtypes.int64),
    ],
)
def test_a_number_that_does_not_fit_is_refused_in_json_as_in_a_script(data: Any, dtype: dtypes.DType | None) -> None:
    def in_a_script(value: Any) -> Any:
        if isinstance(value, list):
            return [in_a_script(v) for v in value]
        return complex(*value["complex"]) if isinstance(value, dict) else {"NaN": math.nan, "Infinity": math.inf}.get(value, value)

    with pytest.raises(ArgumentError) as caught:
        codec.array_from_json(data, dtype, max_elements=100)
    with pytest.raises(type(caught.value), match=re.escape(caught.value.detail)):
        array_of(in_a_script(data), dtype)


@given(
    st.lists(
        st.one_of(
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(-(2.0**62), 2.0**62),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_integers_among_floats_keep_every_digit(numbers: list[Any]) -> None:
    found = codec.array_from_json(numbers, dtypes.int64, max_elements=100)

    assert found.tolist() == [int(n) for n in numbers]


def test_spelled_numbers_mean_what_they_say() -> None:
    found = codec.array_from_json(["NaN", "Infinity", "-Infinity", {"float": "NaN"}], None, max_elements=100)

    assert math.isnan(found[0])
    assert found[1] == math.inf
    assert found[2] == -math.inf
    assert math.isnan(found[3])


@pytest.mark.parametrize("data", ["1e999", "[1.0, -1e400]", '[[{"complex": [1e999, 0]}]]', '[{"float": 1e400}]'])
def test_a_number_beyond_float64_is_no_infinity(data: str) -> None:
    parsed = codec.load_json(data.encode(), max_depth=9)
    with pytest.raises(ArgumentValueError, match="too large for float64"):
        codec.array_from_json(parsed, None, max_elements=9)


@pytest.mark.parametrize("value", [1e999, -1e400, {"float": 1e999}, {"complex": [0, 1e999]}])
def test_a_parameter_beyond_float64_is_no_infinity(value: object) -> None:
    with pytest.raises(ArgumentValueError, match="too large for float64"):
        kinds.decode_number(value)
    assert kinds.decode_number({"float": "-Infinity"}) == -np.inf
