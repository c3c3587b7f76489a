"""Sums along rows and columns of matrices of real numbers, faster than numpy's own where there are many."""

from __future__ import annotations

import functools
import math
from typing import Any, Final, cast

import numpy as np

from telegrad_service.engine.parts import unfit
from telegrad_service.engine.table import Array

BLOCK: Final = 512
"""How many neighbours are summed one after another: few enough for the rounding to stay that of a pairwise sum."""


def has_fast_rows(rows: int, width: int) -> bool:
    """Whether ``of_rows`` takes rows of that width."""
    return width >= 16 and (width <= 2 * BLOCK or width % BLOCK == 0 or rows == 1)


def of_rows(x: Array) -> Array:
    """The sum of each row; of long ones in blocks, whose sums numpy adds pairwise.

    By einsum, whose loop is three times as fast as numpy's pairwise one; a product with ones is no faster on one thread, and far
    slower where its threads wait for those of other processes.
    """
    rows, width = x.shape
    if width <= 2 * BLOCK:
        summed: Array = np.einsum("ij->i", x)
        return summed
    rest = width % BLOCK
    if rows != 1 and rest:
        return cast(Array, np.add.reduce(x, axis=1))
    if rest:
        return cast(Array, of_rows(x[:, :-rest]) + np.add.reduce(x[:, -rest:], axis=1))
    blocks = np.einsum("ij->i", x.reshape(-1, BLOCK)).reshape(rows, width // BLOCK)
    return cast(Array, np.add.reduce(blocks, axis=1))


def of_columns(x: Array) -> Array:
    """The sum of each column: a product with ones, which reads each row once, where numpy reads and writes the sums for each."""
    rows = x.shape[0]
    ones = _ones(rows, x.dtype) if rows <= _MOST_KEPT else np.ones(rows, x.dtype)
    # The same call of BLAS, by the shorter way; the compiler's stand-ins are better off with one that takes ``out``.
    summed: Array = np.dot(ones, x) if type(x) is np.ndarray else np.matmul(ones, x)
    return summed


_MOST_KEPT: Final = 4096


@functools.lru_cache(maxsize=64)
def _ones(count: int, dtype: np.dtype[Any]) -> Array:
    """Ones that nobody writes to: making them anew takes as long as a small product."""
    made = np.ones(count, dtype)
    made.setflags(write=False)
    return made


def sum_to_shape(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``array`` over the dimensions along which ``shape`` was broadcast to it."""
    lead = array.ndim - len(shape)
    if lead < 0:
        if array.size == 1 and all(n == 1 for n in shape):
            return array.reshape(shape)
        raise unfit(list(array.shape), list(shape))
    if lead and array.flags.c_contiguous and array.dtype.kind == "f" and array.dtype.itemsize >= 4 and array.shape[lead:] == shape:
        rows = math.prod(array.shape[:lead])  # the gradient of a bias
        if rows and lead == 1 == len(shape) < shape[0]:
            return of_columns(array)
        if rows and array.size > rows:
            return of_columns(array.reshape(rows, array.size // rows)).reshape(shape)
    if any(n not in (1, size) for n, size in zip(shape, array.shape[lead:], strict=True)):
        raise unfit(list(array.shape), list(shape))
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and array.shape[lead + i] != 1)
    summed = array.sum(axis=axes, keepdims=True) if axes else array
    return np.asarray(summed).reshape(shape)
