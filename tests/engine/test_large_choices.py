"""Choices and sums into places, at sizes where the engine takes other ways than numpy's: the same values, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.rules import load
from telegrad_service.engine.table import ENTRIES

load()
RNG = np.random.default_rng(0)
MANY = 20_000
SPECIAL = (0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, 1e-45)


def values(dtype: type) -> np.ndarray[Any, np.dtype[Any]]:
    made: np.ndarray[Any, np.dtype[Any]] = RNG.normal(size=MANY).astype(dtype)
    made[: len(SPECIAL)] = np.array(SPECIAL).astype(dtype)
    return made


SIDES = {
    "two arrays": lambda dtype: (values(dtype), values(dtype)[::-1]),
    "a number first": lambda dtype: (0.1, values(dtype)),
    "a number last": lambda dtype: (values(dtype), -2),
    "nothing first": lambda dtype: (0.0, values(dtype)),
    "nothing last": lambda dtype: (values(dtype), 0),
    "less than nothing": lambda dtype: (values(dtype), -0.0),
    "not a number": lambda dtype: (values(dtype), float("nan")),
    "a 0-d array": lambda dtype: (values(dtype), np.array(3.5, dtype)),
    "whole numbers": lambda dtype: (values(dtype), np.arange(MANY)),
    "a number that float32 does not hold": lambda dtype: (values(dtype), 2**24 + 1),
    "another precision": lambda dtype: (values(dtype), values(np.float64 if dtype is np.float32 else np.float32)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_a_choice_has_the_bits_that_were_chosen(sides, dtype):
    condition = RNG.random(MANY) < 0.5
    yes, no = sides(dtype)

    found = ENTRIES["where"].kernel(condition, yes, no)

    expected = np.where(condition, yes, no)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.int64])
@pytest.mark.parametrize(("rows", "width"), [(50, 1), (50_000, 1), (50, 7), (50_000, 7), (50, 40), (50_000, 40), (3, 200)])
def test_rows_that_repeat_are_all_added(rows, width, dtype):
    table = RNG.integers(0, 2, (rows, width)).astype(dtype)
    where = RNG.integers(0, rows, 3000)
    added = RNG.integers(0, 2, (3000, width)).astype(dtype)
    expected = table.copy()
    np.add.at(expected, where, added)

    add_rows(table, where, added)

    assert np.array_equal(table, expected)


def test_a_table_that_is_a_view_is_written():
    base = np.zeros((10, 8), np.float32)

    add_rows(base[:, ::2], np.array([1, 1, 3]), np.ones((3, 4), np.float32))

    assert base[1].tolist() == [2, 0] * 4
    assert base.sum() == 12


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.int64])
@pytest.mark.parametrize(
    ("rows", "width", "count"), [(5000, 40, 3000), (5000, 40, 700), (50_000, 200, 3000), (10**6, 40, 700), (50, 40, 50)]
)
def test_rows_of_an_empty_table_are_written_and_repeats_added(rows, width, count, dtype):
    where = RNG.integers(0, rows, count)
    added = RNG.integers(-9, 9, (count, width)).astype(dtype)
    expected = np.zeros((rows, width), dtype)
    np.add.at(expected, where, added)
    table = np.zeros((rows, width), dtype)

    add_rows(table, where, added, empty=True)

    assert np.array_equal(table, expected)


def test_three_values_of_one_row_are_added_from_the_first_to_the_last():
    table = np.zeros((5000, 64), np.float32)
    where = np.arange(1000)
    where[[100, 300, 900]] = 7
    added = np.zeros((1000, 64), np.float32)
    added[[100, 300, 900], 0] = 1, 2**24, -(2**24)  # another order would keep the one
    added[7] = 0

    add_rows(table, where, added, empty=True)

    assert table[7, 0] == (np.float32(1) + np.float32(2**24)) - np.float32(2**24)
