"""What an index selects in an array: the view of its basic part, an integer array per indexed dimension, and adding there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from telegrad.contract import dtypes
from telegrad.contract.errors import IndexBoundsError
from telegrad.contract.indexing import mismatch, placement, resolve
from telegrad.contract.kinds import TensorSlot
from telegrad.contract.ops import Spec
from telegrad_service.engine.rows import add_rows
from telegrad_service.engine.table import Array


def _specs(tensors: tuple[Array, ...]) -> list[Spec]:
    return [Spec(t.shape, dtypes.from_numpy(t.dtype)) for t in tensors]


def _tensor(item: TensorSlot, tensors: tuple[Array, ...]) -> Array:
    """The tensor that a slot stands for."""
    return tensors[item.position - 1]


def located(array: Array, index: tuple[Any, ...], tensors: tuple[Array, ...]) -> tuple[Array, list[int], list[Array]]:
    """The view that the index's basic part selects, the dimensions of it that are indexed, and an integer array for each.

    Raises IndexBoundsError for integers outside their dimension.
    """
    resolved = resolve(array.shape, index, _specs(tensors))
    basic = list(resolved.basic)
    dim = 0
    for position, item in enumerate(basic):
        if type(item) is TensorSlot:
            value, size = int(tensors[item.position - 1]), array.shape[dim]
            if not -size <= value < size:
                raise outside(dim, size)
            basic[position] = value
        dim += item is not None
    view = array[(*basic, ...)]
    dims: list[int] = []
    arrays: list[Array] = []
    for start, item in resolved.advanced:
        if type(item) is bool:
            found: tuple[Array, ...] = (np.zeros(int(item), np.int64),)
        else:
            tensor = _tensor(item, tensors)
            if tensor.dtype.kind == "b" or tensor.dtype == np.uint8:
                found = tensor.nonzero() if tensor.ndim else (np.zeros(int(bool(tensor)), np.int64),)
            else:
                found = (tensor,)
        dims.extend(range(start, start + len(found)))
        arrays.extend(found)
    return view, dims, arrays


def outside(dim: int, size: int) -> IndexBoundsError:
    """The complaint about an index tensor that names a position beyond its dimension; it does not repeat the position."""
    return IndexBoundsError(f"index is out of bounds for dimension {dim} with size {size}")


def complain(view: Array, dims: list[int], arrays: list[Array]) -> IndexBoundsError:
    """Why numpy refused these index arrays."""
    for dim, positions in zip(dims, arrays, strict=True):
        size = view.shape[dim]
        if positions.size and (positions.min() < -size or positions.max() >= size):
            return outside(dim, size)
    return mismatch([a.shape for a in arrays])


def full(dims: list[int], arrays: list[Array]) -> tuple[Any, ...]:
    """The index arrays as numpy's index, slices between them."""
    found: list[Any] = [slice(None)] * (dims[-1] + 1)
    for dim, positions in zip(dims, arrays, strict=True):
        found[dim] = positions
    return tuple(found)


def _rows(view: Array, dims: list[int], arrays: list[Array]) -> tuple[Array, tuple[int, ...], list[int]]:
    """The row that each position names when the indexed dimensions of ``view`` come first and are flattened.

    Returns the rows, the arrays' common shape, and the order of dimensions that brings the indexed ones to the front.
    """
    sizes = tuple(view.shape[d] for d in dims)
    try:
        together = np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        raise mismatch([a.shape for a in arrays]) from None
    rows: Any = np.zeros(together, np.int64)
    for dim, size, positions in zip(dims, sizes, arrays, strict=True):
        if positions.size and (positions.min() < -size or positions.max() >= size):
            raise outside(dim, size)
        rows = rows * size + np.where(positions < 0, positions + size, positions)
    return rows.reshape(-1), together, dims + [d for d in range(view.ndim) if d not in dims]


def _rows_first(values: Array, dims: list[int], count: int) -> Array:
    """Values of an indexing result with the ``count`` dimensions of the index arrays moved to the front."""
    at = placement(dims)
    return np.moveaxis(values, range(at, at + count), range(count))


def add_at(view: Array, dims: list[int], arrays: list[Array], values: Array) -> None:
    """Add ``values``, shaped like the indexing result, to ``view`` in place, repeats included."""
    rows, together, order = _rows(view, dims, arrays)
    ordered = view.transpose(order)
    height, width = math.prod(ordered.shape[: len(dims)]), math.prod(ordered.shape[len(dims) :])
    source = _rows_first(values, dims, len(together)).reshape(rows.size, width)
    if ordered.flags.c_contiguous:
        add_rows(ordered.reshape(height, width), rows, source)
        return
    table = np.zeros((height, width), view.dtype)
    add_rows(table, rows, source)
    ordered += table.reshape(ordered.shape)
