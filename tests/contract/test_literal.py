"""Literal data: what ``tensor(...)`` makes of numbers, sequences, arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import telegrad
from telegrad.contract.literal import array_of


@given(shape=st.lists(st.integers(0, 3), max_size=4), kind=st.sampled_from(["bool", "int64", "float64", "complex128"]))
def test_nested_lists_give_back_the_array_they_came_from(shape: list[int], kind: str) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(kind)

    made = array_of(array.tolist())

    wanted = {"bool": "bool", "int64": "int64", "float64": "float32", "complex128": "complex64"}[kind]
    # Where the lists hold no element, nothing tells a type or the sizes behind the first 0.
    if array.size:
        assert made.dtype == wanted
        assert made.shape == array.shape
    assert np.array_equal(made.ravel(), array.ravel())


@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "float16", "float64", "complex128"])
def test_arrays_and_their_elements_keep_their_type(kind: str) -> None:
    array = np.ones(3, kind)

    assert array_of(array).dtype == kind
    assert array_of(list(array)).dtype == kind
    assert array_of([array, array]).shape == (2, 3)
    assert array_of(array[0]).shape == ()


def test_array_is_copied_into_native_contiguous_memory() -> None:
    source = np.arange(6, dtype=">f8").reshape(2, 3).T

    made = array_of(source)

    assert made.dtype == np.dtype(np.float64)
    assert made.flags.c_contiguous
    assert made.flags.owndata
    assert np.array_equal(made, source)


def test_tensors_and_numbers_mix_in_lists() -> None:
    with telegrad.local() as session:
        x = session.tensor(2.5, requires_grad=True)

        made = session.tensor([x, 1, x])

    assert made.tolist() == [2.5, 1.0, 2.5]
    assert not made.requires_grad


def test_integers_up_to_64_bits_are_exact() -> None:
    extremes = [2**63 - 1, -(2**63), 2**53 + 1]

    assert array_of(extremes).tolist() == extremes
    assert array_of([2**64 - 1], telegrad.uint64).tolist() == [2**64 - 1]


def cyclic() -> list[Any]:
    """A list that contains itself."""
    itself: list[Any] = []
    itself.append(itself)
    return itself


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        pytest.param(cyclic(), ValueError, "too many dimensions", id="endless nesting"),
        pytest.param([[1], [[2]]], TypeError, "cannot be interpreted", id="one level deeper"),
        pytest.param([np.ones(2), np.ones(3)], ValueError, "expected sequence of length 2", id="arrays of two lengths"),
        pytest.param(np.array(["a"]), TypeError, "can't convert np.ndarray", id="array of strings"),
        pytest.param({1: 2}, RuntimeError, "Could not infer dtype of dict", id="a dict"),
        pytest.param([object()], RuntimeError, "Could not infer dtype of object", id="an object"),
    ],
)
def test_what_is_no_tensor_is_refused(data: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        array_of(data)
