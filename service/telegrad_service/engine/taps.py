"""Interpolation and adaptive averages as sparse matrices, one a dimension: how each output point weighs the input's points."""

from __future__ import annotations

import functools
import math
from typing import Any, Final, NamedTuple

import numpy as np

from telegrad_service.engine.table import Array

DENSE: Final = 64
"""Up to this many points a dimension, one matrix product beats gathering."""

_MOST_DENSE: Final = 2**22
"""Elements of a matrix in full with many points a row: 32 MiB."""

_BLOCK_ELEMENTS: Final = 2**20
"""What is gathered at once."""


class Taps(NamedTuple):
    """A sparse matrix by its rows, filled up to the longest.

    Attributes:
        columns: [rows, longest]: which columns.
        weight: [rows, longest] float64.
        used: [rows]: how many of each row count.
        width: number of columns.
    """

    columns: Array
    weight: Array
    used: Array
    width: int

    def transposed(self) -> Taps:
        """The transposed matrix."""
        inside = np.arange(self.columns.shape[1]) < self.used[:, None]
        rows, _ = np.nonzero(inside)
        return collect(self.columns[inside], rows, self.weight[inside], self.width, len(self.used))

    def is_dense(self) -> bool:
        """Whether the matrix in full is the better way: it is small, or has many points a row."""
        height, longest = self.columns.shape
        return self.width <= DENSE or (longest > DENSE and height * self.width <= _MOST_DENSE)

    def dense(self, dtype: np.dtype[Any]) -> Array:
        """The matrix in full."""
        full = np.zeros((len(self.used), self.width))
        inside = np.arange(self.columns.shape[1]) < self.used[:, None]
        rows, _ = np.nonzero(inside)
        np.add.at(full, (rows, self.columns[inside]), self.weight[inside])
        return full.astype(dtype)


class ByteTaps(NamedTuple):
    """Weights for bytes.

    Attributes:
        matrix: of whole numbers.
        bits: by so many bits they are too large.
    """

    matrix: Taps
    bits: int


def collect(rows: Array, columns: Array, weights: Array, height: int, width: int) -> Taps:
    """The matrix with these entries."""
    order = np.argsort(rows, kind="stable")
    rows, columns, weights = rows[order], columns[order], weights[order]
    count = np.bincount(rows, minlength=height)
    place = np.arange(rows.size) - np.repeat(np.cumsum(count) - count, count)
    longest = int(count.max()) if height else 0
    index, weight = np.zeros((height, longest), np.int64), np.zeros((height, longest))
    index[rows, place], weight[rows, place] = columns, weights
    return Taps(index, weight, count, width)


def _scale(source: int, target: int, align: bool, scale: float | None) -> float:
    """Input points a step of the output."""
    if align:
        return (source - 1) / (target - 1) if target > 1 else 0.0
    return 1 / scale if scale else source / target


def _nearest(source: int, target: int, scale: float | None, exact: bool) -> Taps:
    # In float32, as PyTorch computes it: the rounding decides which of two neighbours is nearer.
    step = np.float32(_scale(source, target, False, scale))
    index = np.floor((np.arange(target, dtype=np.float32) + np.float32(0.5 if exact else 0)) * step).astype(np.int64)
    index = np.minimum(index, source - 1)
    return Taps(index[:, None], np.ones((target, 1)), np.ones(target, np.int64), source)


def _cubic(t: Array, a: float) -> Array:
    """Keys's weight of a point at distance ``t``."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _against_aliases(source: int, target: int, align: bool, scale: float | None, cubic: bool) -> Taps:
    """Weights of a filter as wide as the step, where the output is smaller than the input; each row sums to one."""
    step = _scale(source, target, align, scale)
    stretch = max(step, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    centre = step * (np.arange(target) + 0.5)
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), source)
    count = np.maximum(high - low, 1)
    index = low[:, None] + np.arange(int(count.max()))
    distance = (index - centre[:, None] + 0.5) / stretch
    weight = _cubic(distance, -0.5) if cubic else np.maximum(1 - np.abs(distance), 0)
    weight = np.where(index < (low + count)[:, None], weight, 0.0)
    total = weight.sum(1, keepdims=True)
    return Taps(np.minimum(index, source - 1), weight / np.where(total == 0, 1, total), count, source)


def _averages(source: int, target: int) -> Taps:
    """Windows that share out the input evenly, overlapping where it does not divide."""
    start, end = windows(source, target)
    count = end - start
    longest = int(count.max()) if target else 0
    index = np.minimum(start[:, None] + np.arange(longest), source - 1)
    return Taps(index, np.repeat(1 / count[:, None], longest, 1), count, source)


def windows(source: int, target: int) -> tuple[Array, Array]:
    """Where the windows of adaptive pooling begin and end."""
    at = np.arange(target)
    return at * source // max(target, 1), -(-(at + 1) * source // max(target, 1))


@functools.lru_cache(256)
def taps(source: int, target: int, mode: str, align: bool, scale: float | None, antialias: bool, transpose: bool) -> Taps:
    """The matrix of ``mode`` from ``source`` points to ``target``, or its transpose."""
    if transpose:
        return taps(source, target, mode, align, scale, antialias, False).transposed()
    if mode.startswith("nearest"):
        return _nearest(source, target, scale, mode == "nearest-exact")
    if mode == "area":
        return _averages(source, target)
    if antialias:
        return _against_aliases(source, target, align, scale, mode == "bicubic")
    step = _scale(source, target, align, scale)
    at = np.arange(target, dtype=np.float64)
    point = at * step if align else (at + 0.5) * step - 0.5
    rows = np.full(target, 4 if mode == "bicubic" else 2)
    if mode == "bicubic":
        first = np.floor(point).astype(np.int64)
        index = first[:, None] + np.arange(-1, 3)
        return Taps(np.clip(index, 0, source - 1), _cubic(point[:, None] - index, -0.75), rows, source)
    point = at if target == source else np.maximum(point, 0)  # equal sizes are a copy, whatever the scale, as in PyTorch
    first = np.minimum(point.astype(np.int64), source - 1)
    part = np.clip(point - first, 0, 1)
    index = np.stack([first, np.minimum(first + 1, source - 1)], 1)
    return Taps(index, np.stack([1 - part, part], 1), rows, source)


def along(x: Array, axis: int, matrix: Taps) -> Array:
    """The matrix applied to each line of ``x`` along ``axis``."""
    lead, rest = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    height, longest = matrix.columns.shape
    shape = (*x.shape[:axis], height, *x.shape[axis + 1 :])
    single = longest == 1 and bool((matrix.weight[:, 0] == 1).all()) and bool((matrix.used == 1).all())
    if single:
        return np.take(x, matrix.columns[:, 0], axis=axis)
    if not longest or not x.size:
        return np.zeros(shape, x.dtype)
    flat = x.reshape(lead, matrix.width, rest)
    # A product meets every point with a weight of zero, which makes NaN of infinity.
    if matrix.is_dense() and math.isfinite(float(x.sum())):
        full = matrix.dense(x.dtype)
        product = np.matmul(flat[:, :, 0], full.T) if rest == 1 else np.matmul(full, flat)
        return np.asarray(product.reshape(shape))
    return _gathered(flat, matrix).reshape(shape)


def _gathered(flat: Array, matrix: Taps) -> Array:
    """The matrix applied to the middle dimension, point by point of its rows."""
    lead, _, rest = flat.shape
    height, longest = matrix.columns.shape
    result = np.zeros((lead, height, rest), flat.dtype)
    if longest > DENSE:
        block = max(1, _BLOCK_ELEMENTS // max(lead * longest * rest, 1))
        for low in range(0, height, block):
            near = slice(low, low + block)
            inside = np.arange(longest) < matrix.used[near, None]
            points = np.where(inside[:, :, None], flat[:, matrix.columns[near]], 0)
            result[:, near] = np.einsum("lhkr,hk->lhr", points, matrix.weight[near].astype(flat.dtype))
        return result
    for k in range(longest):
        rows = np.flatnonzero(matrix.used > k)
        chosen: slice | Array = slice(None) if rows.size == height else rows
        part = flat[:, matrix.columns[chosen, k]]
        part *= matrix.weight[chosen, k].astype(flat.dtype)[:, None]
        result[:, chosen] += part
    return result


@functools.lru_cache(256)
def byte_taps(source: int, target: int, mode: str, align: bool, scale: float | None, antialias: bool, transpose: bool) -> ByteTaps:
    """``taps`` in whole numbers, of 16 bits with as many places behind the point as fit. As in PyTorch, which has it from Pillow's
    ``Resample.c``.
    """
    found = taps(source, target, mode, align, scale, antialias, transpose)
    # Two on one point, at an edge, are one weight, which is rounded once.
    inside = np.arange(found.columns.shape[1]) < found.used[:, None]
    rows, _ = np.nonzero(inside)
    places, at = np.unique(rows * source + found.columns[inside], return_inverse=True)
    weights = np.bincount(at, found.weight[inside], minlength=places.size)
    largest = float(weights.max(initial=0.0))
    bits = next(p for p in range(23) if p == 22 or int(0.5 + largest * 2 ** (p + 1)) >= 2**15)
    whole = np.trunc(weights * 2**bits + np.copysign(0.5, weights))
    return ByteTaps(collect(places // source, places % source, whole, len(found.used), source), bits)


def along_bytes(x: Array, axis: int, given: ByteTaps) -> Array:
    """The matrix applied to lines of 8-bit integers; results are rounded and cut to a byte."""
    matrix, bits = given
    # Products of whole numbers in float64 are exact: sums stay far below 2**53.
    flat = np.moveaxis(x, axis, 0).reshape(matrix.width, -1).astype(np.float64)
    sums = matrix.dense(flat.dtype) @ flat if matrix.is_dense() else _gathered(flat[None], matrix)[0]
    made = np.floor((sums + 2 ** (bits - 1)) / 2**bits)
    shape = (len(matrix.used), *x.shape[:axis], *x.shape[axis + 1 :])
    return np.moveaxis(np.clip(made, 0, 255).astype(np.uint8).reshape(shape), 0, axis)
