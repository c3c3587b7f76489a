"""Many arrays into one body and out of it again; and junk in, nothing but a typed refusal out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegrad.contract import safetensors
from telegrad.contract.errors import PayloadTooLargeError, RequestError
from tests.strategies import arrays, same_bits


@given(
    st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__" and "," not in s), arrays(), max_size=4)
)
def test_safetensors_bodies_round_trip_to_the_bit(named: dict[str, np.ndarray[Any, Any]]) -> None:
    body = b"".join(safetensors.pack(named, {"hello": [1, None]}))

    found, message = safetensors.unpack(body)

    assert message == {"hello": [1, None]}
    assert set(found) == set(named)
    assert all(same_bits(found[name], named[name]) for name in named)


@given(arrays(), st.lists(st.integers(1, 40), max_size=20))
def test_a_body_cut_into_any_pieces_reads_the_same(array: np.ndarray[Any, Any], cuts: list[int]) -> None:
    body = b"".join(safetensors.pack({"x": array}, "message"))
    reader = safetensors.Reader(max_bytes=len(body))

    position = 0
    for size in cuts:
        reader.feed(body[position : position + size])
        position += size
    reader.feed(body[position:])

    assert same_bits(reader.finish()["x"], array)
    assert reader.message == "message"


def test_the_safetensors_library_reads_our_bodies_and_we_read_its() -> None:
    library = pytest.importorskip("safetensors.numpy")
    named: dict[str, np.ndarray[Any, Any]] = {
        "half": np.arange(3, dtype=np.float16),
        "matrix": np.arange(6, dtype=np.float64).reshape(2, 3),
        "mask": np.array([True, False]),
        "scalar": np.array(7, np.int8),
        "empty": np.zeros((0, 2), np.float32),
    }

    theirs = library.load(b"".join(safetensors.pack(named)))
    ours, _ = safetensors.unpack(library.save(named))

    assert all(same_bits(theirs[name], named[name]) and same_bits(ours[name], named[name]) for name in named)


@given(st.binary(max_size=200))
def test_junk_is_refused_as_safetensors(junk: bytes) -> None:
    with pytest.raises((RequestError, PayloadTooLargeError)):
        safetensors.unpack(junk)


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
        safetensors.unpack(body)


def test_overlapping_buffers_are_refused() -> None:
    entry = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}
    text = json.dumps({"x": entry, "y": entry}).encode()

    with pytest.raises(RequestError, match="overlap"):
        safetensors.unpack(len(text).to_bytes(8, "little") + text + bytes(8))


def test_a_body_too_large_is_refused_before_it_is_allocated() -> None:
    entry = {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}
    text = json.dumps({"x": entry}).encode()

    with pytest.raises(PayloadTooLargeError, match="max_body_bytes"):
        safetensors.unpack(len(text).to_bytes(8, "little") + text, max_bytes=10**6)
