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
from hypothesis.extra import numpy as hnp

from telegrad.contract import codec, dtypes, kinds
from telegrad.contract.errors import ArgumentError, ArgumentValueError, LimitError, PayloadTooLargeError, RequestError
from telegrad.contract.literal import array_of

ALL = [d.numpy for d in dtypes.DTYPES.values()]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Any telegrad array: every element type, NaN and infinities included, empty and 0-d shapes, odd strides."""
    dtype = draw(st.sampled_from(ALL))
    array = draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    return draw(st.sampled_from([array, array.T, array[..., ::-1] if array.ndim else array]))


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal shape, type and bytes; signs of zeros and NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@given(
    st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__" and "," not in s), arrays(), max_size=4)
)
def test_safetensors_bodies_round_trip_to_the_bit(named: dict[str, np.ndarray[Any, Any]]) -> None:
    body = b"".join(codec.pack(named, {"hello": [1, None]}))

    found, message = codec.unpack(body)

    assert message == {"hello": [1, None]}
    assert set(found) == set(named)
    assert all(same_bits(found[name], named[name]) for name in named)


@given(arrays(), st.lists(st.integers(1, 40), max_size=20))
def test_a_body_cut_into_any_pieces_reads_the_same(array: np.ndarray[Any, Any], cuts: list[int]) -> None:
    body = b"".join(codec.pack({"x": array}, "message"))
    reader = codec.SafetensorsReader(max_bytes=len(body))

    position = 0
    for size in cuts:
        reader.feed(body[position : position + size])
        position += size
    reader.feed(body[position:])

    assert same_bits(reader.finish()["x"], array)
    assert reader.message == "message"


def test_the_safetensors_library_reads_our_bodies_and_we_read_its() -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    named: dict[str, np.ndarray[Any, Any]] = {
        "half": np.arange(3, dtype=np.float16),
        "matrix": np.arange(6, dtype=np.float64).reshape(2, 3),
        "mask": np.array([True, False]),
        "scalar": np.array(7, np.int8),
        "empty": np.zeros((0, 2), np.float32),
    }

    theirs = safetensors.load(b"".join(codec.pack(named)))
    ours, _ = codec.unpack(safetensors.save(named))

    assert all(same_bits(theirs[name], named[name]) and same_bits(ours[name], named[name]) for name in named)


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


@given(st.binary(max_size=200))
def test_junk_is_refused_as_safetensors(junk: bytes) -> None:
    with pytest.raises((RequestError, PayloadTooLargeError)):
        codec.unpack(junk)


HEADERS: list[Any] = [
    [],
    {"x": 1},
    {"x": {"dtype": "F64", "shape": [1]}},
    {"x": {"dtype": "F65", "shape": [1], "data_offsets": [0, 8]}},
    {"x": {"dtype": ["F64"], "shape": [1], "data_offsets": [0, 8]}},
    {"x": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}},
    {"x": {"dtype": "F64", "shape": [1.0], "data_offsets": [0, 8]}},
    {"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 9]}},
    {"x": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}},
    {"x": {"dtype": "F64", "shape": [1], "data_offsets": [True, 8]}},
    {"x": {"dtype": "F64", "shape": [2**62, 2**62], "data_offsets": [0, 8]}},
    {"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8], "more": 1}},
    {"__metadata__": {"telegrad": 1}},
    {"__metadata__": {"complex128": "x"}},
    {"__metadata__": {"complex128": "x"}, "x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}},
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: json.dumps(h)[:60])
def test_a_header_that_lies_is_refused(header: Any) -> None:
    text = json.dumps(header).encode()
    body = len(text).to_bytes(8, "little") + text + bytes(8)

    with pytest.raises(RequestError):
        codec.unpack(body)


def test_overlapping_buffers_are_refused() -> None:
    entry = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}
    text = json.dumps({"x": entry, "y": entry}).encode()

    with pytest.raises(RequestError, match="overlap"):
        codec.unpack(len(text).to_bytes(8, "little") + text + bytes(8))


def test_a_body_too_large_is_refused_before_it_is_allocated() -> None:
    entry = {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}
    text = json.dumps({"x": entry}).encode()

    with pytest.raises(PayloadTooLargeError, match="max_body_bytes"):
        codec.unpack(len(text).to_bytes(8, "little") + text, max_bytes=10**6)


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
