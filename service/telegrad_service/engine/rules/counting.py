"""Kernels of counts, histograms, places in sorted sequences, and distinct values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract.errors import ShapeError
from telegrad_service.engine.table import Array, extent, kernel

# Counts ------------------------------------------------------------------------------------------------------------------------


@extent("bincount")
def _bins(self: Array, weights: Array | None, minlength: int) -> tuple[int, np.dtype[Any]]:
    return max(int(self.max()) + 1 if self.size else 0, minlength), np.dtype(np.int64)


@kernel("bincount")
def _bincount(self: Array, weights: Array | None, minlength: int) -> Array:
    if not self.size:
        return np.zeros(minlength, np.int64)
    if self.min() < 0:
        raise ShapeError("bincount only supports 1-d non-negative integral inputs; some are negative")
    if weights is None:
        return np.bincount(self, minlength=minlength)
    found = np.bincount(self, np.real(weights), minlength)
    return found.astype(np.float32) if weights.dtype == np.float32 else found


def _limits(values: Array, name: str, where: str) -> tuple[Any, Any]:
    """The smallest and the largest value; 0 and 1 where there is none."""
    if not values.size:
        return values.dtype.type(0), values.dtype.type(1)
    low, high = values.min(), values.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ShapeError(f"torch.{name}: {where}range of [{low}, {high}] is not finite")
    return low, high


def _widened(low: Any, high: Any) -> tuple[Any, Any]:
    """A range with a middle: half a unit to both sides of a single value."""
    return (low - 1, high + 1) if low == high else (low, high)


@kernel("histc")
def _histc(self: Array, bins: int, min: Any, max: Any) -> Array:
    values = self.reshape(-1)
    if min == max:
        low, high = _limits(values, "histc", "")
    else:
        low, high = min, max
    low, high = _widened(low, high)
    kind = np.result_type(self.dtype, np.float32).type
    with np.errstate(over="ignore"):
        if not (math.isfinite(kind(low)) and math.isfinite(kind(high))):
            raise ShapeError(f"torch.histc: range of [{low}, {high}] is not finite")
    kept = values[(values >= low) & (values <= high)]
    width = kind(high) - kind(low)
    places = ((kept.astype(kind) - kind(low)) / width * bins).astype(np.int64)
    return np.bincount(np.minimum(places, bins - 1), minlength=bins).astype(self.dtype)


@kernel("histogramdd.edges")
def _edges(self: Array, bins: tuple[int, ...], range: tuple[float, ...] | None) -> tuple[Array, ...]:
    points = self.reshape(-1, self.shape[-1])
    found: list[Array] = []
    for d, count in enumerate(bins):
        if range is None:
            low, high = _limits(points[:, d], "histogramdd", f"dimension {d}'s ")
        else:
            low, high = self.dtype.type(range[2 * d]), self.dtype.type(range[2 * d + 1])
        if low == high:
            low, high = low - self.dtype.type(0.5), high + self.dtype.type(0.5)
        # Steps count from the nearer end, so that both ends are exact.
        step = (high - low) / self.dtype.type(count)
        at = np.arange(count + 1, dtype=self.dtype)
        found.append(np.where(at < (count + 1) // 2, low + step * at, high - step * (count - at)).astype(self.dtype))
    return tuple(found)


@kernel("histogramdd")
def _histogramdd(self: Array, weight: Array | None, *edges: Array, density: bool) -> Array:
    points = self.reshape(-1, self.shape[-1])
    shape = tuple(e.size - 1 for e in edges)
    inside = np.ones(len(points), bool)
    cells: Any = np.zeros(len(points), np.int64)
    for d, edge in enumerate(edges):
        values = points[:, d]
        inside &= (values >= edge[0]) & (values <= edge[-1])
        # The last bin has both its edges.
        place = np.where(values == edge[-1], edge.size - 2, np.searchsorted(edge, values, "right") - 1)
        cells = cells * shape[d] + place
    weights = None if weight is None else weight.reshape(-1)[inside]
    found = np.bincount(cells[inside], weights, math.prod(shape)).astype(self.dtype).reshape(shape)
    if density:
        found = found / found.sum()
        for d, edge in enumerate(edges):
            found = found / np.diff(edge).reshape([-1 if i == d else 1 for i in range(len(shape))])
    return found


# Places ------------------------------------------------------------------------------------------------------------------------


def _placed(boundaries: Array, values: Any, right: bool, out_int32: bool) -> Array:
    values = np.asarray(values)
    if values.dtype != boundaries.dtype:
        common = np.result_type(boundaries, values)
        boundaries, values = boundaries.astype(common), values.astype(common)
    found = np.searchsorted(boundaries, values, "right" if right else "left")
    return np.asarray(found, np.int32 if out_int32 else np.int64)


def _number(value: Any, like: Array) -> Any:
    """A Python number in the type that PyTorch would compare it in: the boundaries' own, or the default one for a fraction."""
    if isinstance(value, float) and like.dtype.kind in "biu":
        return np.float32(value)
    return value


@kernel("bucketize")
def _bucketize(self: Any, boundaries: Array, out_int32: bool, right: bool) -> Array:
    values = self if isinstance(self, np.ndarray) else np.asarray(_number(self, boundaries))
    return _placed(boundaries, values, right, out_int32)


@kernel("searchsorted")
def _searchsorted(self: Array, input: Any, sorter: Array | None, out_int32: bool, right: bool, side: str | None) -> Array:
    after = right or side == "right"
    if sorter is not None:
        if sorter.size and (sorter.min() < 0 or sorter.max() >= self.shape[-1]):
            raise ShapeError("torch.searchsorted(): sorter index out of range")
        self = np.take_along_axis(self, sorter, -1)
    values = input if isinstance(input, np.ndarray) else np.asarray(_number(input, self))
    if self.ndim == 1:
        return _placed(self, values, after, out_int32)
    rows = math.prod(self.shape[:-1])
    found = np.empty((rows, values.shape[-1]), np.int32 if out_int32 else np.int64)
    sequences, wanted = self.reshape(rows, self.shape[-1]), values.reshape(rows, values.shape[-1])
    for row in range(rows):
        found[row] = _placed(sequences[row], wanted[row], after, out_int32)
    return found.reshape(values.shape)


@kernel("isin")
def _isin(elements: Any, test_elements: Any, assume_unique: bool, invert: bool) -> Any:
    # Whether the values are known to be unique only ever chose the algorithm.
    return np.asarray(np.isin(elements, test_elements, invert=invert))


# Distinct values ---------------------------------------------------------------------------------------------------------------


def _runs(differs: Array) -> tuple[Array, Array, Array]:
    """From where neighbours differ: the first of each run, at which run each entry is, and each run's length."""
    starts = np.flatnonzero(np.concatenate(([True], differs)))
    places = np.cumsum(np.concatenate(([0], differs))).astype(np.int64)
    return starts, places, np.diff(starts, append=differs.size + 1).astype(np.int64)


def _nothing(self: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    return np.zeros(shape, self.dtype), np.zeros(0, np.int64), np.zeros(0, np.int64)


@kernel("unique")
def _unique(self: Array, sorted: bool, dim: int | None) -> tuple[Array, Array, Array]:
    if dim is None:
        values, inverse, counts = np.unique(self, return_inverse=True, return_counts=True, equal_nan=False)
        return values, inverse.reshape(self.shape).astype(np.int64), counts.astype(np.int64)
    slices = np.moveaxis(self, dim, 0)
    if not len(slices):
        return _nothing(self, self.shape)
    rows = slices.reshape(len(slices), -1)
    order = np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(len(rows))
    ordered = rows[order]
    starts, places, counts = _runs((ordered[1:] != ordered[:-1]).any(1))
    inverse = np.empty(len(rows), np.int64)
    inverse[order] = places
    return np.moveaxis(slices[order[starts]], 0, dim), inverse, counts


@kernel("unique_consecutive")
def _unique_consecutive(self: Array, dim: int | None) -> tuple[Array, Array, Array]:
    slices = self.reshape(-1) if dim is None else np.moveaxis(self, dim, 0)
    if not len(slices):
        values, inverse, counts = _nothing(self, (0,) if dim is None else self.shape)
        return values, inverse.reshape(self.shape if dim is None else (0,)), counts
    rows = slices.reshape(len(slices), -1)
    starts, places, counts = _runs((rows[1:] != rows[:-1]).any(1))
    if dim is None:
        return slices[starts], places.reshape(self.shape), counts
    return np.moveaxis(slices[starts], 0, dim), places, counts
